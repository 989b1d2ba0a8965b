/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigtimedwait(2): what is pending, what comes, time that runs out. */
#include "native.h"

static void on_signal(int signo)
{
	print("handler %s\n", signal_name(signo));
}

int main(void)
{
	u64 set = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(34);
	siginfo_t info;
	struct timespec zero = { 0, 0 }, bad = { 0, 1000000000 }, negative = { -1, 0 }, some = { 0, 1000000 };
	long me = SYS(getpid);
	block_only(set);
	MUST(kill, me, 34);
	MUST(kill, me, SIGUSR1);
	SHOW(rt_sigtimedwait, &set, &info, NULL, 8);
	print("%d %d\n", info.si_signo, info.si_code);
	SHOW(rt_sigtimedwait, &set, NULL, &zero, 8);
	SHOW(rt_sigtimedwait, &set, NULL, &zero, 8);
	SHOW(rt_sigtimedwait, &set, NULL, &some, 8);
	SHOW(rt_sigtimedwait, &set, NULL, &bad, 8);
	SHOW(rt_sigtimedwait, &set, NULL, &negative, 8);
	SHOW(rt_sigtimedwait, &set, NULL, NOWHERE, 8);
	SHOW(rt_sigtimedwait, NOWHERE, NULL, &zero, 8);
	SHOW(rt_sigtimedwait, &set, NULL, &zero, 4);
	MUST(kill, me, SIGUSR1);
	SHOW(rt_sigtimedwait, &set, NOWHERE, &zero, 8);
	handle(SIGUSR2, on_signal, SA_RESTART);
	long pid = MUST(fork);
	if (!pid) {
		sleep_ms(30);
		MUST(kill, me, SIGUSR2);
		leave(0);
	}
	SHOW(rt_sigtimedwait, &set, &info, NULL, 8);
	reap(pid);
	return 0;
}
