/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that are sent, blocked, ignored, handled and taken, by chance. */
#include "native.h"

static void on_signal(int signo, siginfo_t *info)
{
	print(" <%d.%d", signo, info->si_code);
	if (chance(6) == 0)
		MUST(kill, SYS(getpid), signo);
	print(">");
}
static const u8 signals[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGURG, 35, 36, 40 };
static long one(void)
{
	int signo = signals[chance(COUNT(signals))];
	u64 mask = 0, old;
	siginfo_t info = { .si_code = -1 };
	struct timespec zero = { 0, 0 };

	for (u32 i = 0; i < COUNT(signals); i++)
		if (chance(3) == 0)
			mask |= SIGNAL_BIT(signals[i]);
	switch (chance(9)) {
	case 0:
		handle(signo, on_signal, SA_SIGINFO | (chance(2) ? SA_NODEFER : 0));
		return 0;
	case 1:
		handle(signo, chance(2) ? SIG_IGN : signo == SIGCHLD || signo == SIGURG ? SIG_DFL : (void *)on_signal, SA_SIGINFO);
		return 0;
	case 2:
		return SYS(kill, SYS(getpid), signo);
	case 3:
		return SYS(tkill, SYS(gettid), signo);
	case 4:
		return SYS(rt_sigqueueinfo, SYS(getpid), signo, &info);
	case 5:
		return SYS(rt_sigprocmask, SIG_BLOCK + chance(3), &mask, &old, 8) ?: (long)old;
	case 6:
		return SYS(rt_sigpending, &old, 8) ?: (long)old;
	case 7:
		return SYS(rt_sigtimedwait, &mask, &info, &zero, 8);
	default:
		return SYS(sched_yield);
	}
}

int main(void)
{
	for (u32 i = 0; i < COUNT(signals); i++)
		handle(signals[i], on_signal, SA_SIGINFO);
	for (int line = 0; line < 150; line++) {
		for (int i = 0; i < 10; i++)
			print(" %lx", one());
		print("\n");
	}
	return 0;
}
