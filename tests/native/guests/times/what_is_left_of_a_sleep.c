/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal with a handler ends a sleep: the time that was left, where there is one to tell. */
#include "native.h"

static void on_alarm(int signo UNUSED)
{
}

static void in_100_ms(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 100000 } };

	MUST(setitimer, ITIMER_REAL, &soon, NULL);
}

int main(void)
{
	struct timespec five = { 5, 0 }, left = { 77, 7 }, until;
	struct timeval three = { 3, 0 };
	struct pollfd none = { -1, POLLIN, 0 };

	handle(SIGALRM, on_alarm, SA_RESTART);
	in_100_ms();
	SHOW(nanosleep, &five, &left);
	SAY(left.tv_sec);
	in_100_ms();
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, &five, &left);
	SAY(left.tv_sec);
	MUST(clock_gettime, CLOCK_MONOTONIC, &until);
	until.tv_sec += 5;
	left.tv_sec = 77;
	in_100_ms();
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left);
	SAY(left.tv_sec);
	in_100_ms();
	SHOW(clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &five, &left);
	SAY(left.tv_sec >= 4);
	in_100_ms();
	SHOW(select, 0, NULL, NULL, NULL, &three);
	SAY(three.tv_sec);
	in_100_ms();
	SHOW(ppoll, &none, 1, &five, NULL, 0);
	SAY(five.tv_sec);
	in_100_ms();
	SHOW(poll, &none, 1, 5000);
	in_100_ms();
	SHOW(nanosleep, &five, NOWHERE);
	return 0;
}
