/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time goes on while a program only asks what time it is, yields, or polls. */
// needs: an idle cpu
#include "native.h"

static long now_us(void)
{
	struct timespec now;

	MUST(clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int main(void)
{
	struct rusage before, after;
	struct timespec cpu, user;
	long start = now_us();

	MUST(getrusage, RUSAGE_SELF, &before);
	while (now_us() - start < 5000)
		;
	print("clock_gettime\n");
	for (start = now_us(); now_us() - start < 5000;)
		SYS(sched_yield);
	print("sched_yield\n");
	for (start = now_us(); now_us() - start < 5000;)
		SYS(poll, NULL, 0, 0);
	print("poll\n");
	MUST(getrusage, RUSAGE_SELF, &after);
	SAY((after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 + after.ru_stime.tv_usec -
	    before.ru_stime.tv_usec > 1000);
	MUST(clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &cpu);
	SAY(cpu.tv_sec || cpu.tv_nsec > 10000000);
	MUST(clock_gettime, -3, &user); /* the user time of this process, by ticks */
	SAY(user.tv_sec * 1000000000 + user.tv_nsec < cpu.tv_sec * 1000000000 + cpu.tv_nsec);
	return 0;
}
