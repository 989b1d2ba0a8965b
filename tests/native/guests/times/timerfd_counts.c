/* SPDX-License-Identifier: GPL-2.0-or-later */
/* timerfd_create(2), timerfd_settime(2), timerfd_gettime(2), read(2). */
#include "native.h"

int main(void)
{
	struct itimerspec t = { { 0, 10000000 }, { 0, 1 } }, old, bad = { { 0, 0 }, { 0, -1 } };
	u64 count = 0;
	int fds[2];
	MUST(pipe2, fds, 0);
	int fd = SHOW(timerfd_create, CLOCK_MONOTONIC, 04000);
	SHOW(timerfd_create, 99, 0);
	SHOW(timerfd_create, CLOCK_MONOTONIC, 1);
	SHOW(timerfd_create, CLOCK_THREAD_CPUTIME_ID, 0);
	SHOW(read, fd, &count, 8);
	SHOW(read, fd, &count, 7);
	SHOW(timerfd_settime, fd, 0, &t, &old);
	sleep_ms(35);
	SHOW(read, fd, &count, 8);
	SAY(count >= 3);
	SHOW(timerfd_gettime, fd, &old);
	print("%ld\n", old.it_interval.tv_nsec);
	t = (struct itimerspec){ { 0, 0 }, { 0, 0 } };
	SHOW(timerfd_settime, fd, 0, &t, NULL);
	SHOW(timerfd_gettime, fd, &old);
	print("%ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	SHOW(timerfd_settime, fd, 0, &bad, NULL);
	SHOW(timerfd_settime, fd, 4, &t, NULL);
	SHOW(timerfd_settime, fd, 0, NOWHERE, NULL);
	SHOW(timerfd_settime, 99, 0, &t, NULL);
	SHOW(timerfd_settime, 99, 4, &t, NULL);
	SHOW(timerfd_settime, fds[0], 0, &t, NULL);
	SHOW(timerfd_gettime, fds[0], &old);
	SHOW(timerfd_gettime, 99, &old);
	SHOW(timerfd_gettime, fd, NOWHERE);
	t.it_value.tv_nsec = 1;
	SHOW(timerfd_settime, fd, 1, &t, NULL);
	sleep_ms(1);
	SHOW(read, fd, NOWHERE, 8);
	SHOW(write, fd, &count, 8);
	return 0;
}
