/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock_nanosleep with each number of a clock: on which one can sleep, and what is checked first. */
#include "native.h"

int main(void)
{
	static const int clocks[] = { -13, -9, -5, -1, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 100 };
	struct timespec a_little = { 0, 1000 }, bad = { 0, 1000000000 }, past = { 1, 0 };

	for (u32 i = 0; i < COUNT(clocks); i++) {
		print("clock %d: %s", clocks[i], result_name(SYS(clock_nanosleep, clocks[i], 0, &a_little, NULL)));
		print(", until a time that has passed: %s\n",
		      result_name(SYS(clock_nanosleep, clocks[i], TIMER_ABSTIME, &past, NULL)));
	}
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 2, &a_little, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, &bad, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, NOWHERE, NULL);
	SHOW(clock_nanosleep, 100, 0, NOWHERE, NULL);
	SHOW(nanosleep, &bad, NULL);
	SHOW(nanosleep, NOWHERE, NULL);
	return 0;
}
