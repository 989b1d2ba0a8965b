/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait4(2), waitid(2), pause(2), rt_sigsuspend(2), open(2) of a FIFO. */
#include "native.h"

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	siginfo_t info;
	u64 none = 0;
	int status;
	MUST(mknod, "fifo", S_IFIFO | 0600, 0);
	handle(SIGUSR1, on_signal, 0);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(wait4, pid, &status, 0, NULL);
	SHOW(waitid, P_ALL, 0, &info, WEXITED, NULL);
	SHOW(pause);
	SHOW(rt_sigsuspend, &none, 8);
	SHOW(open, "fifo", O_RDONLY);
	SHOW(open, "fifo", O_WRONLY);
	end_child(pid);
	return 0;
}
