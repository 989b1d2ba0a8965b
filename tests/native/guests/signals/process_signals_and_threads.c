/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal to a process goes to a thread that does not block it; one to a thread stays there. */
#include "native.h"

static volatile int got;
static void on_signal(int signo)
{
	print("%s in the %s\n", signal_name(signo), SYS(gettid) == SYS(getpid) ? "first" : "second");
	got++;
}
static int second(u64 unused)
{
	(void)unused;
	while (got < 2)
		sleep_ms(1);
	return 0;
}

int main(void)
{
	volatile int tid;
	handle(SIGUSR1, on_signal, 0);
	handle(SIGUSR2, on_signal, 0);
	long number = thread(second, 0, &tid);
	block_only(SIGNAL_BIT(SIGUSR1));
	MUST(kill, SYS(getpid), SIGUSR1);
	while (got < 1)
		sleep_ms(1);
	MUST(tkill, number, SIGUSR2);
	join(&tid);
	MUST(tkill, SYS(gettid), SIGUSR1);
	SAY(got);
	block_only(0);
	SAY(got);
	return 0;
}
