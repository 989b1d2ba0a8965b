/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigqueueinfo(2), rt_tgsigqueueinfo(2): values, order, codes. */
#include "native.h"

static void on_signal(int signo, siginfo_t *info)
{
	print("%d code %d value %d pid %d\n", signo, info->si_code, info->si_value.sival_int, info->si_pid == SYS(getpid));
}

int main(void)
{
	siginfo_t info = { .si_code = -1 };
	long me = SYS(getpid);
	handle(34, on_signal, SA_SIGINFO);
	handle(35, on_signal, SA_SIGINFO);
	handle(SIGUSR1, on_signal, SA_SIGINFO);
	block_only(SIGNAL_BIT(34) | SIGNAL_BIT(35) | SIGNAL_BIT(SIGUSR1));
	info.si_pid = me;
	for (int i = 0; i < 3; i++) {
		info.si_value.sival_int = i;
		SHOW(rt_sigqueueinfo, me, 35, &info);
		SHOW(rt_tgsigqueueinfo, me, me, 34, &info);
	}
	SHOW(rt_sigqueueinfo, me, SIGUSR1, &info);
	SHOW(rt_sigqueueinfo, me, SIGUSR1, &info);
	block_only(0);
	SHOW(rt_sigqueueinfo, me, 65, &info);
	SHOW(rt_sigqueueinfo, me, 0, &info);
	SHOW(rt_sigqueueinfo, 1 << 30, 34, &info);
	SHOW(rt_sigqueueinfo, me, 34, NOWHERE);
	SHOW(rt_tgsigqueueinfo, me, 1 << 30, 34, &info);
	SHOW(rt_tgsigqueueinfo, 0, me, 34, &info);
	SHOW(rt_tgsigqueueinfo, me, me, 65, &info);
	SHOW(rt_tgsigqueueinfo, me, me, 34, NOWHERE);
	long pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	info.si_code = 0;
	SHOW(rt_sigqueueinfo, pid, 34, &info);
	info.si_code = SI_TKILL;
	SHOW(rt_sigqueueinfo, pid, 34, &info);
	SHOW(rt_tgsigqueueinfo, pid, pid, 34, &info);
	MUST(kill, pid, SIGKILL);
	reap(pid);
	return 0;
}
