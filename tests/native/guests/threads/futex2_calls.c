/* SPDX-License-Identifier: GPL-2.0-or-later */
/* since: 6.7 */
/* futex_waitv, futex_wait, futex_wake and futex_requeue: what they refuse, and who is woken. */
#include "native.h"

#define PRIVATE 128
#define U32 2

struct waitv {
	u64 val, uaddr;
	u32 flags, reserved;
};

static volatile u32 words[3], stage;
static volatile long got;
static volatile int tid;

static int wait_for_all(u64 unused)
{
	struct waitv list[3] = { { 0, (u64)words, U32 | PRIVATE, 0 },
				 { 0, (u64)(words + 1), U32 | PRIVATE, 0 },
				 { 0, (u64)(words + 2), U32, 0 } };
	(void)unused;
	stage = 1;
	got = SYS(futex_waitv, list, 3, 0, NULL, 0);
	return 0;
}

static int wait_for_one(u64 mask)
{
	stage = 1;
	got = SYS(futex_wait, words, 0, mask, U32 | PRIVATE, NULL, 0);
	return 0;
}

static void begin(int (*function)(u64), u64 argument)
{
	got = 77;
	stage = 0;
	thread(function, argument, &tid);
	while (!stage)
		sleep_ms(1);
	sleep_ms(30);
}

static void finish(void)
{
	join(&tid);
	SAY(got);
}

int main(void)
{
	struct timespec past = { 0, 1 }, wrong = { 0, -1 };
	struct waitv one = { 0, (u64)words, U32 | PRIVATE, 0 }, bad;
	struct waitv pair[2] = { one, { 0, (u64)(words + 1), U32 | PRIVATE, 0 } };

	SHOW(futex_waitv, &one, 1, 1, NULL, 0);
	SHOW(futex_waitv, &one, 0, 0, NULL, 0);
	SHOW(futex_waitv, &one, 129, 0, NULL, 0);
	SHOW(futex_waitv, NULL, 1, 0, NULL, 0);
	SHOW(futex_waitv, NOWHERE, 1, 0, NULL, 0);
	SHOW(futex_waitv, &one, 1, 0, &past, CLOCK_MONOTONIC);
	SHOW(futex_waitv, &one, 1, 0, &past, CLOCK_REALTIME);
	SHOW(futex_waitv, &one, 1, 0, &past, CLOCK_TAI);
	SHOW(futex_waitv, &one, 1, 0, &wrong, CLOCK_MONOTONIC);
	SHOW(futex_waitv, &one, 1, 0, NOWHERE, CLOCK_MONOTONIC);
	bad = one, bad.reserved = 1;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.flags = PRIVATE;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.flags = 3;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.flags = U32 | 16;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.val = 1UL << 32;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.val = 1;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.uaddr++;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	bad = one, bad.uaddr = 16;
	SHOW(futex_waitv, &bad, 1, 0, NULL, 0);
	begin(wait_for_all, 0);
	SHOW(futex_wake, words + 1, 1, 1, U32 | PRIVATE);
	finish();
	begin(wait_for_all, 0);
	SHOW(futex, words + 2, FUTEX_WAKE, 1);
	finish();
	begin(wait_for_one, 2);
	SHOW(futex_wake, words, 1, 1, U32 | PRIVATE);
	SHOW(futex_wake, words, 2, 0, U32 | PRIVATE);
	SHOW(futex_wake, words, 2, 5, U32 | PRIVATE);
	finish();
	SHOW(futex_wake, words, 0, 1, U32 | PRIVATE);
	SHOW(futex_wake, words, 1, 1, PRIVATE);
	SHOW(futex_wake, words, 1, 1, 64 | U32);
	SHOW(futex_wake, words, 1UL << 32, 1, U32);
	SHOW(futex_wake, (char *)words + 2, 1, 1, U32);
	SHOW(futex_wake, NOWHERE, 1, 1, U32);
	SHOW(futex_wake, NOWHERE, 1, 1, U32 | PRIVATE);
	SHOW(futex_wait, words, 1, 1, U32, NULL, 0);
	SHOW(futex_wait, words, 0, 0, U32, NULL, 0);
	SHOW(futex_wait, words, 0, 1, U32, &past, CLOCK_MONOTONIC);
	SHOW(futex_wait, words, 0, 1, U32, &past, 9);
	SHOW(futex_wait, words, 1UL << 32, 1, U32, NULL, 0);
	SHOW(futex_wait, words, 0, 1, 0, NULL, 0);
	begin(wait_for_one, 1);
	SHOW(futex_requeue, pair, 1, 0, 1);
	SHOW(futex_requeue, NULL, 0, 0, 1);
	SHOW(futex_requeue, pair, 0, -1, 1);
	pair[0].val = 1;
	SHOW(futex_requeue, pair, 0, 0, 1);
	pair[0].val = 0;
	SHOW(futex_requeue, pair, 0, 0, 1);
	SHOW(futex_wake, words, 1, 1, U32 | PRIVATE);
	SHOW(futex_wake, words + 1, 1, 1, U32 | PRIVATE);
	finish();
	return 0;
}
