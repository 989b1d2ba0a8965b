/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TFD_TIMER_ABSTIME, a time that is past, and poll(2). */
#include "native.h"

int main(void)
{
	struct timespec now;
	struct itimerspec t = { { 0, 0 }, { 0, 1 } };
	u64 count = 0;
	int fd = MUST(timerfd_create, CLOCK_MONOTONIC, 0);
	struct pollfd p = { fd, POLLIN, 0 };
	SHOW(poll, &p, 1, 0);
	SHOW(timerfd_settime, fd, 1, &t, NULL);
	SHOW(poll, &p, 1, -1);
	SHOW(read, fd, &count, 8);
	SAY(count);
	MUST(clock_gettime, CLOCK_MONOTONIC, &now);
	t.it_value = now;
	t.it_value.tv_sec += 1000;
	SHOW(timerfd_settime, fd, 1, &t, NULL);
	SHOW(poll, &p, 1, 5);
	SHOW(timerfd_gettime, fd, &t);
	SAY(t.it_value.tv_sec == 999 || t.it_value.tv_sec == 1000);
	long pid = MUST(fork);
	if (!pid) {
		t = (struct itimerspec){ { 0, 0 }, { 0, 1 } };
		MUST(timerfd_settime, fd, 0, &t, NULL);
		leave(0);
	}
	reap(pid);
	SHOW(read, fd, &count, 8);
	return 0;
}
