/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.16
/* prctl(2) with PR_FUTEX_HASH: a program's own buckets for its futexes. */
#include "native.h"

#define HASH 78
#define SET 1
#define GET 2

static int in_a_thread(UNUSED u64 argument)
{
	SHOW(prctl, HASH, GET);
	return 0;
}

static void run_a_thread(void)
{
	static volatile int tid;

	thread(in_a_thread, 0, &tid);
	join(&tid);
}

int main(void)
{
	SHOW(prctl, HASH, GET);
	SHOW(prctl, HASH, 0);
	SHOW(prctl, HASH, 3);
	SHOW(prctl, HASH, SET, 1);
	SHOW(prctl, HASH, SET, 3);
	SHOW(prctl, HASH, SET, 4, 1);
	SHOW(prctl, HASH, GET, 5, 7);
	run_a_thread();
	SHOW(prctl, HASH, GET);
	SHOW(prctl, HASH, SET, 4);
	run_a_thread();
	long pid = MUST(fork);
	if (!pid) {
		SHOW(prctl, HASH, GET);
		run_a_thread();
		leave(0);
	}
	reap(pid);
	SHOW(prctl, HASH, SET, 64);
	SHOW(prctl, HASH, SET, 1UL << 40);
	SHOW(prctl, HASH, GET);
	SHOW(prctl, HASH, SET, 16);
	SHOW(prctl, HASH, SET, 0);
	SHOW(prctl, HASH, SET, 1);
	return 0;
}
