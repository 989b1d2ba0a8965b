/* SPDX-License-Identifier: GPL-2.0-or-later */
/* timer_create(2) and the calls of a timer. */
#include "native.h"

static void on_timer(int signo, siginfo_t *info)
{
	print("%s code %d value %d\n", signal_name(signo), info->si_code, info->si_value.sival_int);
}

int main(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42 };
	struct itimerspec t = { { 0, 0 }, { 0, 10000000 } }, old, bad = { { 0, 0 }, { 0, 1000000000 } };
	int timer = -1, second = -1;
	handle(SIGUSR1, on_timer, SA_SIGINFO);
	SHOW(timer_create, CLOCK_MONOTONIC, &event, &timer);
	SAY(timer);
	SHOW(timer_create, CLOCK_REALTIME, NULL, &second);
	SAY(second);
	SHOW(timer_settime, timer, 0, &t, &old);
	SHOW(pause);
	SHOW(timer_gettime, timer, &old);
	print("%ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	SHOW(timer_getoverrun, timer);
	SHOW(timer_settime, timer, 0, &bad, NULL);
	SHOW(timer_settime, timer, 0, NULL, NULL);
	SHOW(timer_settime, timer, 0, NOWHERE, NULL);
	SHOW(timer_settime, 99, 0, &t, NULL);
	SHOW(timer_settime, 99, 0, &bad, NULL);
	SHOW(timer_gettime, 99, &old);
	SHOW(timer_gettime, timer, NOWHERE);
	SHOW(timer_getoverrun, 99);
	SHOW(timer_delete, second);
	SHOW(timer_delete, second);
	SHOW(timer_create, 99, NULL, &timer);
	SHOW(timer_create, CLOCK_REALTIME, NOWHERE, &timer);
	SHOW(timer_create, CLOCK_REALTIME, NULL, NOWHERE);
	event.sigev_signo = 65;
	SHOW(timer_create, CLOCK_REALTIME, &event, &timer);
	event.sigev_notify = 77;
	SHOW(timer_create, CLOCK_REALTIME, &event, &timer);
	return 0;
}
