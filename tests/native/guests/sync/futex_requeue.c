/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FUTEX_REQUEUE and FUTEX_CMP_REQUEUE. */
#include "native.h"

static volatile u32 word, other;
static volatile int waiting;
static int waiter(u64 unused)
{
	(void)unused;
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	return SYS(futex, &word, FUTEX_WAIT, 0, NULL) != 0;
}

int main(void)
{
	volatile int tid[3];
	SHOW(futex, &word, FUTEX_REQUEUE, 1, 1, &other);
	SHOW(futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &other, 7);
	SHOW(futex, &word, FUTEX_CMP_REQUEUE, -1, 1, &other, 0);
	SHOW(futex, &word, FUTEX_REQUEUE, 1, -1, &other);
	SHOW(futex, &word, FUTEX_REQUEUE, 1, 1, NOWHERE);
	SHOW(futex, &word, FUTEX_CMP_REQUEUE, 1, 1, (char *)&other + 2, 0);
	for (int i = 0; i < 3; i++)
		thread(waiter, 0, &tid[i]);
	while (waiting < 3)
		SYS(sched_yield);
	sleep_ms(30);
	SHOW(futex, &word, FUTEX_CMP_REQUEUE, 1, 1, &other, 0);
	SHOW(futex, &other, FUTEX_WAKE, 5);
	SHOW(futex, &word, FUTEX_WAKE, 5);
	for (int i = 0; i < 3; i++)
		join(&tid[i]);
	return 0;
}
