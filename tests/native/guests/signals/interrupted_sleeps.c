/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nanosleep(2) and clock_nanosleep(2): what was left, and no remainder for a point in time. */
#include "native.h"

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	struct timespec t = { 100, 0 }, left = { -1, -1 }, end;
	handle(SIGUSR1, on_signal, SA_RESTART);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(nanosleep, &t, &left);
	SAY(left.tv_sec == 99);
	SHOW(nanosleep, &t, NULL);
	SHOW(nanosleep, &t, NOWHERE);
	left = (struct timespec){ -1, -1 };
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, &t, &left);
	SAY(left.tv_sec == 99);
	MUST(clock_gettime, CLOCK_MONOTONIC, &end);
	end.tv_sec += 100;
	left = (struct timespec){ -1, -1 };
	SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, &left);
	SAY(left.tv_sec);
	end_child(pid);
	return 0;
}
