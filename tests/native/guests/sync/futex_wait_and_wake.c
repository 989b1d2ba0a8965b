/* SPDX-License-Identifier: GPL-2.0-or-later */
/* futex(2): WAIT, WAKE, values that differ, time that runs out, bad addresses. */
#include "native.h"

static volatile u32 word;
static int waiter(u64 unused)
{
	(void)unused;
	return SYS(futex, &word, FUTEX_WAIT, 0, NULL) != 0;
}

int main(void)
{
	struct timespec some = { 0, 1000000 }, bad = { 0, 1000000000 };
	volatile int tid;
	SHOW(futex, &word, FUTEX_WAKE, 1);
	SHOW(futex, &word, FUTEX_WAIT, 1, NULL);
	SHOW(futex, &word, FUTEX_WAIT, 0, &some);
	SHOW(futex, &word, FUTEX_WAIT_PRIVATE, 0, &some);
	SHOW(futex, &word, FUTEX_WAIT, 0, &bad);
	SHOW(futex, &word, FUTEX_WAIT, 0, NOWHERE);
	SHOW(futex, (char *)&word + 1, FUTEX_WAIT, 0, NULL);
	SHOW(futex, NOWHERE, FUTEX_WAIT, 0, NULL);
	SHOW(futex, NOWHERE, FUTEX_WAKE, 1);
	SHOW(futex, (char *)&word + 1, FUTEX_WAKE, 1);
	SHOW(futex, &word, 99, 0);
	SHOW(futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0);
	SHOW(futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0);
	SHOW(futex, &word, FUTEX_WAIT_BITSET, 0, &some, NULL, 1);
	thread(waiter, 0, &tid);
	while (SYS(futex, &word, FUTEX_WAKE, 1) == 0)
		SYS(sched_yield);
	join(&tid);
	print("woken\n");
	return 0;
}
