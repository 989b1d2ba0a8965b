/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setitimer(2), getitimer(2), alarm(2). */
#include "native.h"

static volatile int alarms;
static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

int main(void)
{
	struct itimerval t = { { 0, 10000 }, { 0, 10000 } }, old, bad = { { 0, 1000000 }, { 0, 0 } };
	handle(SIGALRM, on_alarm, 0);
	SHOW(setitimer, ITIMER_REAL, &t, NULL);
	while (alarms < 3)
		SYS(pause);
	SHOW(getitimer, ITIMER_REAL, &old);
	print("%ld %ld\n", (long)old.it_interval.tv_sec, (long)old.it_interval.tv_usec);
	SHOW(setitimer, ITIMER_REAL, NULL, &old);
	print("%ld\n", (long)old.it_interval.tv_usec);
	SHOW(getitimer, ITIMER_REAL, &old);
	print("%ld %ld\n", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
	SHOW(setitimer, ITIMER_REAL, &bad, NULL);
	SHOW(setitimer, 3, &t, NULL);
	SHOW(setitimer, 3, NOWHERE, NULL);
	SHOW(setitimer, ITIMER_REAL, NOWHERE, NULL);
	SHOW(getitimer, 3, &old);
	SHOW(getitimer, ITIMER_REAL, NOWHERE);
	SHOW(alarm, 10);
	SHOW(alarm, 20);
	SHOW(alarm, 0);
	SHOW(alarm, 0);
	SHOW(setitimer, ITIMER_VIRTUAL, &t, NULL);
	SHOW(setitimer, ITIMER_PROF, &t, NULL);
	SHOW(getitimer, ITIMER_VIRTUAL, &old);
	print("%ld\n", (long)old.it_interval.tv_usec);
	return 0;
}
