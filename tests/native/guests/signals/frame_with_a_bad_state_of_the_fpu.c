/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rt_sigreturn of a frame whose XSAVE header is wrong: SIGSEGV, and the other registers have been restored. */
#include "native.h"

static int times;

static void on_usr1(int signo UNUSED, siginfo_t *info UNUSED, ucontext_t *context)
{
	u64 *header = (u64 *)((char *)context->uc_mcontext.fpregs + 512);

	header[1] = ~0UL;
}

static void on_segv(int signo, siginfo_t *info, ucontext_t *context)
{
	print("%s code %d rax %d\n", signal_name(signo), info->si_code, (int)context->uc_mcontext.gregs[REG_RAX]);
	if (++times == 2)
		leave(1);
}

int main(void)
{
	handle(SIGUSR1, on_usr1, SA_SIGINFO);
	handle(SIGSEGV, on_segv, SA_SIGINFO);
	print("%d\n", (int)SYS(tgkill, SYS(getpid), SYS(gettid), SIGUSR1));
	print("went on\n");
	return 0;
}
