/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fault whose signal is blocked or ignored ends the process. */
#include "native.h"

static void crash(void)
{
	__asm__ volatile("movb $1, 16");
}

static void on_segv(int signo)
{
	print("%s\n", signal_name(signo));
	crash();
}

int main(void)
{
	for (int i = 0; i < 4; i++) {
		long pid = MUST(fork);

		if (!pid) {
			if (i == 0)
				block_only(SIGNAL_BIT(SIGSEGV));
			if (i == 1)
				handle(SIGSEGV, SIG_IGN, 0);
			if (i >= 2)
				handle(SIGSEGV, on_segv, i == 3 ? SA_RESETHAND | SA_NODEFER : 0);
			crash();
			leave(0);
		}
		reap(pid);
	}
	return 0;
}
