/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A frame, or a handler, with an address that is not canonical: #GP is raised at that address. */
#include "native.h"

#define ODD 0x800000000000UL

static int times;

static void on_usr1(int signo UNUSED, siginfo_t *info UNUSED, ucontext_t *context)
{
	context->uc_mcontext.gregs[REG_RIP] = ODD;
}

static void on_segv(int signo, siginfo_t *info, ucontext_t *context)
{
	unsigned long rip = context->uc_mcontext.gregs[REG_RIP];

	print("%s code %d address %d trap %d at it %d\n", signal_name(signo), info->si_code, info->si_addr != NULL,
	      (int)context->uc_mcontext.gregs[REG_TRAPNO], rip == ODD);
	if (++times == 2)
		leave(0);
	handle(SIGUSR2, (void (*)())ODD, 0);
	/* On the way back: the handler of SIGUSR2 is where no code can be. */
	SYS(tgkill, SYS(getpid), SYS(gettid), SIGUSR2);
}

int main(void)
{
	handle(SIGUSR1, on_usr1, SA_SIGINFO);
	handle(SIGSEGV, on_segv, SA_SIGINFO | SA_NODEFER);
	SYS(tgkill, SYS(getpid), SYS(gettid), SIGUSR1);
	return 1;
}
