/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock_getres of each clock; which may be set or tuned at all, and by whom. */
// needs: root
#include "native.h"
#include <sys/timex.h>

int main(void)
{
	static const int clocks[] = { -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	struct timespec bad = { 1, -1 }, old = { 1, 0 }, far = { 1L << 40, 0 };
	struct timeval bad_usec = { 0, 1000001 };
	struct timezone west = { 901, 0 };
	struct timex tuned = { 0 };

	for (u32 i = 0; i < COUNT(clocks); i++) {
		struct timespec fine = { 0, 77 };
		struct timex none = { 0 };
		long got = SYS(clock_getres, clocks[i], &fine);

		print("clock %d: resolution %s, %ld ns;", clocks[i], result_name(got), fine.tv_nsec);
		print(" set: %s;", result_name(SYS(clock_settime, clocks[i], &bad)));
		got = SYS(clock_adjtime, clocks[i], &none);
		print(" tune: %s\n", result_name(got));
	}
	SHOW(clock_settime, CLOCK_REALTIME, NOWHERE);
	SHOW(clock_settime, CLOCK_REALTIME, &far);
	SHOW(clock_settime, CLOCK_MONOTONIC, NOWHERE);
	SHOW(settimeofday, &bad_usec, NULL);
	SHOW(settimeofday, NOWHERE, NULL);
	SHOW(settimeofday, NULL, NOWHERE);
	SHOW(settimeofday, NULL, &west);
	SHOW(settimeofday, NULL, NULL);
	SHOW(adjtimex, NOWHERE);
	tuned.modes = 0x8000; /* ADJ_ADJTIME without ADJ_OFFSET_SINGLESHOT */
	SHOW(adjtimex, &tuned);
	tuned.modes = ADJ_TICK;
	SHOW(adjtimex, &tuned);
	SAY(sizeof(tuned));
	become(1000);
	SHOW(clock_settime, CLOCK_REALTIME, &old);
	SHOW(clock_settime, CLOCK_REALTIME, &bad);
	SHOW(settimeofday, NULL, NULL);
	SHOW(adjtimex, &tuned);
	return 0;
}
