/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A POSIX timer whose signal is blocked counts overruns; a timerfd counts ticks, and can be told some. */
#include "native.h"
#include <linux/ioctl.h>

#define TFD_IOC_SET_TICKS _IOW('T', 0, u64)

static long now_ms(void)
{
	struct timespec now;

	MUST(clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
	long begin;
	u64 usr1 = SIGNAL_BIT(SIGUSR1), ticks = 0;
	struct { u64 value; int signo, notify; char rest[48]; } event = { 7, SIGUSR1, 0, { 0 } };
	struct itimerspec often = { { 0, 10000000 }, { 0, 10000000 } }, left;
	struct timespec none = { 0, 0 };
	siginfo_t info;
	int timer, fd;

	block_only(usr1);
	MUST(timer_create, CLOCK_MONOTONIC, &event, &timer);
	begin = now_ms();
	MUST(timer_settime, timer, 0, &often, NULL);
	sleep_ms(57);
	SHOW(rt_sigtimedwait, &usr1, &info, &none, SIGSET_SIZE);
	SAY(info.si_overrun >= 4 && info.si_overrun < (now_ms() - begin) / 10);
	SAY(SYS(timer_getoverrun, timer) == info.si_overrun);
	SHOW(timer_gettime, timer, &left);
	SAY(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 10000000);
	SHOW(timer_delete, timer);
	SHOW(timer_gettime, timer, &left);
	fd = MUST(timerfd_create, CLOCK_MONOTONIC, 04000);
	SHOW(read, fd, &ticks, 8);
	SHOW(ioctl, fd, TFD_IOC_SET_TICKS, &ticks);
	ticks = 7;
	SHOW(ioctl, fd, TFD_IOC_SET_TICKS, &ticks);
	ticks = 0;
	SHOW(read, fd, &ticks, 8);
	SAY(ticks);
	SHOW(ioctl, fd, TFD_IOC_SET_TICKS, NOWHERE);
	SHOW(ioctl, fd, _IOW('T', 1, u64), &ticks);
	begin = now_ms();
	MUST(timerfd_settime, fd, 0, &often, NULL);
	sleep_ms(33);
	MUST(read, fd, &ticks, 8);
	SAY(ticks >= 3 && (long)ticks <= (now_ms() - begin) / 10);
	return 0;
}
