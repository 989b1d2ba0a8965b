/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PTRACE_SINGLESTEP through calls, PUSHF, string instructions and into a handler: where each step ends. */
#include "native.h"
#include <linux/ptrace.h>
#include <sys/user.h>

void stepped(void);
__asm__(".globl stepped\n"
	"stepped:\n"
	"	nop\n"
	"	mov $110, %eax\n" /* getppid */
	"	syscall\n"
	"	pushf\n"
	"	pop %rbx\n"
	"	push %rax\n"
	"	mov %rsp, %rsi\n"
	"	mov %rsp, %rdi\n"
	"	mov $3, %ecx\n"
	"	rep movsb\n"
	"	pop %rax\n"
	"	mov $39, %eax\n" /* getpid */
	"	syscall\n"
	"	mov %eax, %edi\n"
	"	mov $10, %esi\n" /* SIGUSR1 */
	"	mov $62, %eax\n" /* kill */
	"	syscall\n"
	"	nop\n"
	"	hlt\n");

static void on_signal(int signo UNUSED)
{
}

int main(void)
{
	struct user_regs_struct regs;
	siginfo_t info;
	int status, signo = 0;
	long pid = MUST(fork);

	if (!pid) {
		handle(SIGUSR1, on_signal, 0);
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		SYS(kill, SYS(getpid), SIGSTOP);
		stepped();
	}
	MUST(wait4, pid, &status, 0, NULL);
	MUST(ptrace, PTRACE_GETREGS, pid, 0, &regs);
	regs.rip = (u64)stepped;
	regs.orig_rax = -1;
	MUST(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	for (int i = 0; i < 40; i++) {
		MUST(ptrace, PTRACE_SINGLESTEP, pid, 0, signo);
		MUST(wait4, pid, &status, 0, NULL);
		if (!WIFSTOPPED(status))
			break;
		signo = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		MUST(ptrace, PTRACE_GETREGS, pid, 0, &regs);
		MUST(ptrace, PTRACE_GETSIGINFO, pid, 0, &info);
		if (regs.rip - (u64)stepped < 100)
			print("%ld: ", (long)(regs.rip - (u64)stepped));
		else
			print("%s: ", regs.rip == (u64)on_signal ? "the handler" : "elsewhere");
		print("%s, si_code %x, TF in rbx: %s\n", signal_name(WSTOPSIG(status)), info.si_code,
		      regs.rbx & 0x100 ? "yes" : "no");
	}
	print("killed by %s\n", signal_name(WTERMSIG(status)));
	return 0;
}
