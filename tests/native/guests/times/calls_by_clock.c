/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each clock with each call that takes one. */
#include "native.h"

static const int clocks[] = { 0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 16, -1, -6, 99 };

int main(void)
{
	for (u32 i = 0; i < COUNT(clocks); i++) {
		struct timespec t = { 0, 0 }, zero = { 0, 0 };
		int timer = -1;
		long fd, result;

		print("%d: gettime %s", clocks[i], result_name(SYS(clock_gettime, clocks[i], &t)));
		print(" getres %s", result_name(SYS(clock_getres, clocks[i], NULL)));
		print(" nanosleep %s", result_name(SYS(clock_nanosleep, clocks[i], 0, &zero, NULL)));
		print(" absolute %s", result_name(SYS(clock_nanosleep, clocks[i], 1, &zero, NULL)));
		result = SYS(timer_create, clocks[i], NULL, &timer);
		print(" timer %s", result_name(result));
		if (!result)
			MUST(timer_delete, timer);
		fd = SYS(timerfd_create, clocks[i], 0);
		print(" timerfd %s\n", result_name(fd));
		if (fd >= 0)
			MUST(close, fd);
	}
	return 0;
}
