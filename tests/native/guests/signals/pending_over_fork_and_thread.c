/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child has no pending signals, but mask and handlers; a thread has its own mask. */
#include "native.h"

static int in_thread(u64 unused)
{
	u64 mask = 0;

	(void)unused;
	MUST(rt_sigprocmask, 0, NULL, &mask, 8);
	print("thread %lx\n", mask);
	block_only(0);
	return 0;
}

int main(void)
{
	volatile int tid;
	u64 set = 0;
	block_only(SIGNAL_BIT(SIGUSR1));
	MUST(tkill, SYS(gettid), SIGUSR1);
	long pid = MUST(fork);
	if (!pid) {
		MUST(rt_sigpending, &set, 8);
		print("child pending %lx\n", set);
		MUST(rt_sigprocmask, 0, NULL, &set, 8);
		print("child mask %lx\n", set);
		leave(0);
	}
	reap(pid);
	thread(in_thread, 0, &tid);
	join(&tid);
	MUST(rt_sigpending, &set, 8);
	print("pending %lx\n", set);
	MUST(rt_sigprocmask, 0, NULL, &set, 8);
	print("mask %lx\n", set);
	return 0;
}
