/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* PTRACE_SYSEMU and PTRACE_SYSEMU_SINGLESTEP: calls are told of and not made. */
#include "native.h"
#include <linux/ptrace.h>
#include <asm/ptrace-abi.h>
#include <sys/user.h>

static void next(long pid, struct user_regs_struct *regs)
{
	int status;

	MUST(wait4, pid, &status, __WALL, NULL);
	if (!WIFSTOPPED(status)) {
		print("status %x\n", status);
		return;
	}
	MUST(ptrace, PTRACE_GETREGS, pid, 0, regs);
	print("%s, event %d, call %ld, rax %ld\n", signal_name(WSTOPSIG(status) & 0x7f), status >> 16, (long)regs->orig_rax,
	      WSTOPSIG(status) & 0x80 ? (long)regs->rax : 0L);
}

int main(void)
{
	struct user_regs_struct regs;
	long pid = MUST(fork);

	if (!pid) {
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		SYS(kill, SYS(getpid), SIGSTOP);
		print("getppid is %ld\n", SYS(getppid));
		SYS(getuid);
		SYS(getgid);
		SYS(getegid);
		leave(3);
	}
	next(pid, &regs);
	MUST(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	SHOW(ptrace, 31, pid, 0, 0);
	next(pid, &regs); /* getppid */
	regs.rax = 4711;
	MUST(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	SHOW(ptrace, 31, pid, 0, 0);
	next(pid, &regs); /* write */
	SHOW(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs); /* its end: it was not made */
	SHOW(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs); /* getuid, which is made */
	SHOW(ptrace, 31, pid, 0, 0);
	next(pid, &regs); /* getgid */
	SHOW(ptrace, 32, pid, 0, 0);
	next(pid, &regs);
	SHOW(ptrace, 32, pid, 0, 0);
	next(pid, &regs);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs);
	return 0;
}
