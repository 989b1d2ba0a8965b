/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stop signal takes pending SIGCONTs away, and SIGCONT pending stop signals; blocked ones too. */
#include "native.h"

static void pending(void)
{
	u64 set;

	MUST(rt_sigpending, &set, 8);
	print("pending %lx\n", set);
}

int main(void)
{
	u64 all = 1UL << (SIGCONT - 1) | 1UL << (SIGTSTP - 1) | 1UL << (SIGTTIN - 1) | 1UL << (SIGTTOU - 1);
	int self = SYS(getpid), pid, status;

	MUST(rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);
	SHOW(kill, self, SIGTSTP);
	SHOW(kill, self, SIGTTIN);
	pending();
	SHOW(kill, self, SIGCONT);
	pending();
	SHOW(tkill, self, SIGTTOU);
	pending();
	SHOW(kill, self, SIGCONT);
	pending();
	if (!(pid = MUST(fork))) {
		MUST(kill, SYS(getpid), SIGSTOP);
		leave(5);
	}
	MUST(wait4, pid, &status, WUNTRACED, NULL);
	print("%x\n", status);
	SHOW(kill, pid, SIGTERM);
	SHOW(wait4, pid, &status, WNOHANG | WUNTRACED, NULL);
	SHOW(kill, pid, SIGCONT);
	MUST(wait4, pid, &status, 0, NULL);
	print("%x\n", status);
	return 0;
}
