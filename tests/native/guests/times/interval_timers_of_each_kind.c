/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ITIMER_REAL, VIRTUAL and PROF fire again and again; only PROF counts the kernel's work too. */
#include "native.h"

static volatile int fired;

static void on_signal(int signo UNUSED)
{
	fired++;
}

static long left_us(int which)
{
	struct itimerval now;

	MUST(getitimer, which, &now);
	return now.it_value.tv_sec * 1000000 + now.it_value.tv_usec;
}

int main(void)
{
	static const int signals[] = { SIGALRM, SIGVTALRM, SIGPROF };
	static char buffer[1 << 20];
	int zero;
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { 0 }, old, second = { { 0, 0 }, { 1, 0 } };

	for (int which = 0; which < 3; which++) {
		handle(signals[which], on_signal, 0);
		fired = 0;
		MUST(setitimer, which, &often, NULL);
		while (fired < 5)
			;
		MUST(setitimer, which, &never, &old);
		print("timer %d: interval %ld, left: %s\n", which, old.it_interval.tv_usec,
		      old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 14000 ? "less than that" : "too much");
	}
	MUST(setitimer, ITIMER_VIRTUAL, &second, NULL);
	MUST(setitimer, ITIMER_PROF, &second, NULL);
	zero = MUST(open, "/dev/zero", O_RDONLY);
	for (int i = 0; i < 600; i++)
		MUST(read, zero, buffer, sizeof(buffer));
	SAY(left_us(ITIMER_PROF) < left_us(ITIMER_VIRTUAL));
	SHOW(setitimer, 3, &often, NULL);
	SHOW(getitimer, 3, &old);
	SHOW(getitimer, ITIMER_REAL, NOWHERE);
	return 0;
}
