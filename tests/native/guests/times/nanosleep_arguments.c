/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanosleep(2) and clock_nanosleep(2): values, clocks, flags. */
#include "native.h"

int main(void)
{
	struct timespec zero = { 0, 0 }, bad = { 0, 1000000000 }, negative = { -1, 0 }, past = { 0, 1 }, some = { 0, 1000000 };
	SHOW(nanosleep, &zero, NULL);
	SHOW(nanosleep, &some, &zero);
	SHOW(nanosleep, &bad, NULL);
	SHOW(nanosleep, &negative, NULL);
	SHOW(nanosleep, NOWHERE, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL);
	SHOW(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL);
	SHOW(clock_nanosleep, CLOCK_REALTIME, 0, &bad, NULL);
	SHOW(clock_nanosleep, CLOCK_REALTIME, 0, &negative, NULL);
	SHOW(clock_nanosleep, CLOCK_REALTIME, 2, &zero, NULL);
	SHOW(clock_nanosleep, 99, 0, &zero, NULL);
	SHOW(clock_nanosleep, 99, 0, NOWHERE, NULL);
	SHOW(clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_BOOTTIME, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_TAI, 0, &zero, NULL);
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, NOWHERE, NULL);
	return 0;
}
