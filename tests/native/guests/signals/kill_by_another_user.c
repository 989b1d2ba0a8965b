/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may send signals to whom. */
// needs: root
#include "native.h"

int main(void)
{
	long pid = MUST(fork);
	if (pid) {
		reap(pid);
		return 0;
	}
	int fds[2];
	MUST(pipe2, fds, 0);
	long other = MUST(fork);
	if (!other) {
		MUST(close, fds[1]);
		SYS(read, fds[0], &other, 1);
		leave(0);
	}
	become(1000);
	SHOW(kill, other, 0);
	SHOW(kill, other, SIGTERM);
	SHOW(kill, SYS(getppid), 0);
	SHOW(kill, 0, 0);
	SHOW(tkill, other, 0);
	SHOW(tgkill, other, other, 0);
	siginfo_t info = { .si_code = -1 };
	SHOW(rt_sigqueueinfo, other, SIGTERM, &info);
	pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	SHOW(kill, pid, SIGKILL);
	reap(pid);
	return 0;
}
