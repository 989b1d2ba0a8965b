/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How wait4(2) tells of signals that end a child, with handlers reset by nobody. */
#include "native.h"

static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGKILL, SIGUSR1, SIGALRM, SIGPIPE, SIGPWR, SIGIO, 34, 64 };

int main(void)
{
	for (u32 i = 0; i < COUNT(signals); i++) {
		int status;
		long pid = MUST(fork);

		if (!pid) {
			SYS(kill, SYS(getpid), signals[i]);
			leave(0);
		}
		MUST(wait4, pid, &status, 0, NULL);
		print("%d: %x\n", signals[i], status);
	}
	for (int signo = SIGCHLD; signo <= SIGWINCH; signo += signo == SIGCHLD ? 6 : 5) {
		long pid = MUST(fork);

		if (!pid) {
			SYS(kill, SYS(getpid), signo);
			leave(0);
		}
		print("%d ", signo);
		reap(pid);
	}
	return 0;
}
