/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exit(2) of a process's first thread: the others go on, exit_group(2) ends all. */
#include "native.h"

static int body(u64 unused)
{
	(void)unused;
	sleep_ms(20);
	print("still here\n");
	leave(7);
}

int main(void)
{
	volatile int tid;
	long pid = MUST(fork);
	if (!pid) {
		thread(body, 0, &tid);
		SYS(exit, 3);
	}
	reap(pid);
	pid = MUST(fork);
	if (!pid)
		SYS(exit, 300);
	reap(pid);
	return 0;
}
