/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A condition variable whose waiters are moved to a lock with priority inheritance. */
#include "native.h"

#define PRIVATE FUTEX_PRIVATE_FLAG

static volatile u32 cond, lock, other, stage, got[3];
static volatile int tids[3];

static int wait_for_it(u64 number)
{
	stage++;
	long result = SYS(futex, &cond, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 0, NULL, &lock);
	got[number] = result == 0 && (lock & FUTEX_TID_MASK) == (u32)SYS(gettid) ? ++stage : 99;
	SYS(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	return 0;
}

static int plain_wait(u64 number)
{
	got[number] = SYS(futex, &other, FUTEX_WAIT | PRIVATE, 0, NULL) == 0;
	return 0;
}

static void start(void)
{
	stage = 0;
	for (int i = 0; i < 3; i++) {
		thread(wait_for_it, i, tids + i);
		sleep_ms(30);
	}
	SAY(stage);
}

static void finish(void)
{
	for (int i = 0; i < 3; i++) {
		join(tids + i);
		SAY(got[i]);
	}
	SAY(lock);
}

int main(void)
{
	struct timespec past = { 0, 1 };

	SHOW(futex, &cond, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 0, NULL, &cond);
	SHOW(futex, &cond, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 1, NULL, &lock);
	SHOW(futex, &cond, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 0, &past, &lock);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &lock, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 2, 1, &lock, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 0, 1, &lock, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, -1, &lock, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &lock, 1);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &cond, 0);
	/* the lock is free: the first has it at once */
	start();
	SHOW(futex, &cond, FUTEX_WAKE | PRIVATE, 1);
	SHOW(futex, &cond, FUTEX_REQUEUE | PRIVATE, 1, 1, &lock);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &other, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 100, &lock, 0);
	finish();
	/* the lock is taken */
	MUST(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	start();
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 0, &lock, 0);
	SHOW(futex, &cond, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &lock, 0);
	SAY(lock >> 31);
	SAY(stage);
	MUST(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	finish();
	/* those that wait plainly are not moved */
	thread(plain_wait, 0, tids);
	sleep_ms(30);
	SHOW(futex, &other, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, 1, &lock, 0);
	SHOW(futex, &other, FUTEX_WAKE | PRIVATE, 1);
	join(tids);
	SAY(got[0]);
	return 0;
}
