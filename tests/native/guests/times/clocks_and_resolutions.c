/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock_gettime(2), clock_getres(2), gettimeofday(2), time(2). */
#include "native.h"

int main(void)
{
	struct timespec t, u;
	struct timeval v;
	struct timezone zone;
	for (int clock = 0; clock < 12; clock++)
		print("%d: %s\n", clock, result_name(SYS(clock_gettime, clock, &t)));
	SHOW(clock_gettime, 99, &t);
	SHOW(clock_gettime, 99, NOWHERE);
	SHOW(clock_gettime, CLOCK_REALTIME, NOWHERE);
	SHOW(clock_gettime, -1, &t);
	SHOW(clock_getres, CLOCK_MONOTONIC, &t);
	print("%ld %ld\n", (long)t.tv_sec, t.tv_nsec);
	SHOW(clock_getres, CLOCK_MONOTONIC, NULL);
	SHOW(clock_getres, CLOCK_MONOTONIC, NOWHERE);
	SHOW(clock_getres, 99, &t);
	SHOW(gettimeofday, &v, NULL);
	SHOW(gettimeofday, &v, &zone);
	SHOW(gettimeofday, NOWHERE, NULL);
	SHOW(gettimeofday, NULL, NOWHERE);
	DO(time, NULL);
	SHOW(time, NOWHERE);
	MUST(clock_gettime, CLOCK_MONOTONIC, &t);
	sleep_ms(20);
	MUST(clock_gettime, CLOCK_MONOTONIC, &u);
	SAY((u.tv_sec - t.tv_sec) * 1000000000 + u.tv_nsec - t.tv_nsec >= 20000000);
	return 0;
}
