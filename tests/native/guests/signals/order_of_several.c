/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that are unblocked together: the lowest number's handler runs last, as its frame is made first. */
#include "native.h"

static void on_signal(int signo)
{
	print("%d\n", signo);
}

int main(void)
{
	static const u8 all[] = { SIGUSR2, 40, SIGHUP, SIGTERM, 35, SIGUSR1, SIGCHLD };
	for (u32 i = 0; i < COUNT(all); i++)
		handle(all[i], on_signal, 0);
	block_only(-1UL);
	for (u32 i = 0; i < COUNT(all); i++)
		MUST(kill, SYS(getpid), all[i]);
	block_only(0);
	print("--\n");
	block_only(-1UL);
	for (u32 i = 0; i < COUNT(all); i++)
		must("kill", i & 1 ? SYS(kill, SYS(getpid), all[i]) : SYS(tkill, SYS(getpid), all[i]));
	block_only(0);
	return 0;
}
