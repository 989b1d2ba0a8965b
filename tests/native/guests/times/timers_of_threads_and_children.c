/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers are not inherited over fork(2), and go over execve(2). */
// needs: proc
#include "native.h"

static char *args[2] = { "second", NULL };
static int run(int argc, char **argv, char **envp)
{
	struct itimerval t = { { 0, 0 }, { 1000, 0 } }, got;
	int timer;

	(void)argc, (void)envp;
	if (same(argv[0], "second")) {
		MUST(getitimer, ITIMER_REAL, &got);
		SAY(got.it_value.tv_sec > 900);
		SHOW(timer_delete, 0);
		return 0;
	}
	MUST(setitimer, ITIMER_REAL, &t, NULL);
	MUST(timer_create, CLOCK_MONOTONIC, NULL, &timer);
	SAY(timer);
	long pid = MUST(fork);
	if (!pid) {
		MUST(getitimer, ITIMER_REAL, &got);
		SAY(got.it_value.tv_sec);
		SHOW(timer_delete, 0);
		SHOW(alarm, 0);
		leave(0);
	}
	reap(pid);
	SYS(execve, "/proc/self/exe", args, NULL);
	return 1;
}
#define main(x) main(int argc, char **argv, char **envp)

int main(void)
{
	return run(argc, argv, envp);
	return 0;
}
