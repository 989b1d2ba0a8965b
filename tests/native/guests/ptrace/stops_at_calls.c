/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tracee stops before and behind each call: what registers, siginfo and PTRACE_GET_SYSCALL_INFO say there. */
#include "native.h"
#include <linux/ptrace.h>
#include <sys/user.h>

static void child(void)
{
	MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
	SYS(kill, SYS(getpid), SIGSTOP);
	SYS(close, 1000);
	SYS(lseek, 1000, 7, 8);
	SYS(exit_group, 3);
}

static void show_stop(long pid)
{
	struct user_regs_struct regs;
	struct ptrace_syscall_info info;
	siginfo_t si;
	int status;

	MUST(wait4, pid, &status, 0, NULL);
	if (!WIFSTOPPED(status)) {
		print("exit %d\n", WEXITSTATUS(status));
		leave(0);
	}
	MUST(ptrace, PTRACE_GETREGS, pid, 0, &regs);
	MUST(ptrace, PTRACE_GETSIGINFO, pid, 0, &si);
	print("stop %x, si_code %x, orig_rax %ld, rax %ld", WSTOPSIG(status), si.si_code, (long)regs.orig_rax,
	      regs.orig_rax == __NR_kill || regs.orig_rax == __NR_getpid ? 0 : (long)regs.rax);
	print(", cs %lx, ss %lx, info %ld", (long)regs.cs, (long)regs.ss,
	      SYS(ptrace, PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info));
	print(": op %d, arch %x, ip %s, sp %s\n", info.op, info.arch, info.instruction_pointer == regs.rip ? "same" : "other",
	      info.stack_pointer == regs.rsp ? "same" : "other");
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		print("  nr %ld, arguments %ld %ld %ld\n", (long)info.entry.nr, (long)info.entry.args[0],
		      (long)info.entry.args[1], (long)info.entry.args[2]);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		print("  is_error %d\n", info.exit.is_error);
}

int main(void)
{
	long pid = MUST(fork);
	int status;

	if (!pid)
		child();
	MUST(wait4, pid, &status, 0, NULL);
	print("stop %x\n", WSTOPSIG(status));
	SHOW(ptrace, PTRACE_SETOPTIONS, pid, 0, 0x80000000);
	for (int i = 0; i < 3; i++) {
		MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
		show_stop(pid);
	}
	SHOW(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	for (;;) {
		MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
		show_stop(pid);
	}
}
