/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A shared futex in memory of two processes, and a private one. */
#include "native.h"

int main(void)
{
	volatile u32 *word = anonymous(PAGE, MAP_SHARED);
	struct timespec t = { 0, 1000000 };
	long pid = MUST(fork);
	if (!pid) {
		while (*word == 0)
			SYS(futex, word, FUTEX_WAIT, 0, NULL);
		leave(*word);
	}
	sleep_ms(10);
	*word = 9;
	long woken = SYS(futex, word, FUTEX_WAKE, 5);
	SAY(woken <= 1);
	reap(pid);
	SHOW(futex, word, FUTEX_WAIT_PRIVATE, 9, &t);
	SHOW(munmap, word, PAGE);
	SHOW(futex, word, FUTEX_WAKE, 1);
	SHOW(futex, word, FUTEX_WAKE_PRIVATE, 1);
	SHOW(futex, word, FUTEX_WAIT_PRIVATE, 9, NULL);
	return 0;
}
