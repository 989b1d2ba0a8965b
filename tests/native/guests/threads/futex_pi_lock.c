/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks with priority inheritance: the word names the owner, waiters get it in turn, and mistakes have names. */
#include "native.h"

#define PRIVATE FUTEX_PRIVATE_FLAG

static volatile u32 lock, second, stage, result[4];
static volatile int tids[4];

static const char *who(u32 word)
{
	static char text[64];
	char *at = text;
	const char *parts[] = { word & FUTEX_WAITERS ? "waiters " : "", word & FUTEX_OWNER_DIED ? "died " : "",
				!(word & FUTEX_TID_MASK)		  ? "nobody" :
				(word & FUTEX_TID_MASK) == SYS(gettid) ? "me" :
									  "another" };
	for (int i = 0; i < 3; i++)
		for (const char *from = parts[i]; *from;)
			*at++ = *from++;
	*at = 0;
	return text;
}

#define LOOK() print("%s\n", who(lock))

/* Until so many threads wait at the lock, in kernel. */
static void settle(void)
{
	sleep_ms(30);
}

static int take(u64 number)
{
	SYS(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	result[number] = ++stage;
	if ((lock & FUTEX_TID_MASK) != (u32)SYS(gettid))
		result[number] = 99;
	SYS(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	return 0;
}

static int take_and_end(u64 number)
{
	(void)number;
	SYS(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	stage = 1;
	sleep_ms(60);
	return 0;
}

/* Has the second lock, wants the first. */
static int other_order(u64 number)
{
	SYS(futex, &second, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	stage = 1;
	long got = SYS(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	result[number] = got == 0;
	SYS(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	SYS(futex, &second, FUTEX_UNLOCK_PI | PRIVATE);
	return 0;
}

int main(void)
{
	struct timespec past = { 0, 1 }, wrong = { 0, 1000000000 };

	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	LOOK();
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	SHOW(futex, &lock, FUTEX_TRYLOCK_PI | PRIVATE);
	SHOW(futex, &lock, FUTEX_WAKE | PRIVATE, 1);
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	LOOK();
	SHOW(futex, &lock, FUTEX_TRYLOCK_PI | PRIVATE);
	LOOK();
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	lock = 0x3ffffffe; /* nobody has that number */
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	SHOW(futex, &lock, FUTEX_TRYLOCK_PI | PRIVATE);
	SAY(lock >> 31);
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	lock = FUTEX_OWNER_DIED;
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	LOOK();
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	LOOK();
	SHOW(futex, NOWHERE, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	SHOW(futex, (char *)&lock + 1, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NOWHERE);
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, &wrong);
	SHOW(futex, &lock, FUTEX_LOCK_PI | FUTEX_CLOCK_REALTIME, 0, NULL);
	SHOW(futex, &lock, FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME, 0, NULL);
	SHOW(futex, &lock, FUTEX_UNLOCK_PI);
	/* three in turn */
	MUST(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	for (int i = 0; i < 3; i++) {
		thread(take, i, tids + i);
		settle();
	}
	LOOK();
	SHOW(futex, &lock, FUTEX_WAKE | PRIVATE, 1);
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	for (int i = 0; i < 3; i++) {
		join(tids + i);
		SAY(result[i]);
	}
	LOOK();
	/* time runs out */
	stage = 0;
	thread(take_and_end, 0, tids);
	while (!stage)
		sleep_ms(1);
	SHOW(futex, &lock, FUTEX_TRYLOCK_PI | PRIVATE);
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, &past);
	SHOW(futex, &lock, FUTEX_LOCK_PI2 | PRIVATE, 0, &past);
	LOOK();
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	/* the owner ends, and the waiter has the lock */
	SHOW(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	LOOK();
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	LOOK();
	join(tids);
	/* a circle */
	lock = 0;
	stage = 0;
	MUST(futex, &lock, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	thread(other_order, 3, tids);
	while (!stage)
		sleep_ms(1);
	settle();
	SHOW(futex, &second, FUTEX_LOCK_PI | PRIVATE, 0, NULL);
	SHOW(futex, &lock, FUTEX_UNLOCK_PI | PRIVATE);
	join(tids);
	SAY(result[3]);
	LOOK();
	return 0;
}
