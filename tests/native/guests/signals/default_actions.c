/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each signal does to a process that has no handler. */
#include "native.h"

static const u8 signals[] = { SIGHUP, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGXCPU, SIGXFSZ, SIGTRAP, SIGPROF, SIGVTALRM, SIGSTKFLT, SIGCHLD, SIGURG, SIGWINCH, SIGCONT, 33, 40 };

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
		print("%d: %x\n", signals[i], status & ~0x80);
	}
	return 0;
}
