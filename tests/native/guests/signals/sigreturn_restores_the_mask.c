/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mask in a handler's frame is what rt_sigreturn(2) puts back. */
#include "native.h"

static void on_signal(int signo, siginfo_t *info, ucontext_t *context)
{
	(void)info;
	print("%s\n", signal_name(signo));
	context->uc_sigmask.__val[0] |= SIGNAL_BIT(SIGUSR2);
}

int main(void)
{
	u64 mask = 0;
	handle(SIGUSR1, on_signal, SA_SIGINFO);
	MUST(kill, SYS(getpid), SIGUSR1);
	MUST(rt_sigprocmask, 0, NULL, &mask, 8);
	print("%lx\n", mask);
	return 0;
}
