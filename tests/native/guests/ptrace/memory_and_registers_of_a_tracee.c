/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory, registers, breakpoints and single steps of a tracee. */
#include "native.h"
#include <linux/elf.h>
#include <linux/ptrace.h>
#include <sys/user.h>

static volatile u64 word = 5;
static const u64 constant = 6;
/* The nop becomes a breakpoint. */
long pieces(long);
__asm__(".globl pieces\n"
	"pieces:\n"
	"	mov %rdi, %rax\n"
	"	inc %rax\n"
	"	nop\n"
	"	inc %rax\n"
	"	ret\n");

static int next(long pid)
{
	siginfo_t info;
	int status;

	MUST(wait4, pid, &status, 0, NULL);
	if (WIFEXITED(status)) {
		print("exit %d\n", WEXITSTATUS(status));
		return status;
	}
	MUST(ptrace, PTRACE_GETSIGINFO, pid, 0, &info);
	print("%s, si_code %x\n", signal_name(WSTOPSIG(status)), info.si_code);
	return status;
}

int main(void)
{
	struct user_regs_struct regs;
	struct user_fpregs_struct fp;
	struct iovec set = { &regs, sizeof(regs) };
	u64 value = 0, code;
	long pid = MUST(fork);

	if (!pid) {
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		SYS(kill, SYS(getpid), SIGSTOP);
		leave(pieces(40) + word + constant);
	}
	next(pid);
	SHOW(ptrace, PTRACE_PEEKDATA, pid, &word, &value);
	SAY(value);
	SHOW(ptrace, PTRACE_POKEDATA, pid, &word, 7);
	SHOW(ptrace, PTRACE_PEEKTEXT, pid, &word, &value);
	SAY(value);
	SHOW(ptrace, PTRACE_POKETEXT, pid, &constant, 8); /* read-only memory too */
	MUST(ptrace, PTRACE_PEEKTEXT, pid, (u64)pieces + 6, &code);
	MUST(ptrace, PTRACE_POKETEXT, pid, (u64)pieces + 6, (code & ~0xffUL) | 0xcc);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid);
	SHOW(ptrace, PTRACE_GETREGS, pid, 0, &regs);
	SAY(regs.rip - (u64)pieces);
	SAY(regs.rax);
	SAY((long)regs.orig_rax);
	MUST(ptrace, PTRACE_POKETEXT, pid, (u64)pieces + 6, code);
	regs.rip--;
	regs.rax = 50;
	SHOW(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	for (int i = 0; i < 2; i++) {
		SHOW(ptrace, PTRACE_SINGLESTEP, pid, 0, 0);
		next(pid);
		SHOW(ptrace, PTRACE_PEEKUSR, pid, offsetof(struct user, regs.rip), &value);
		SAY(value - (u64)pieces);
		SHOW(ptrace, PTRACE_PEEKUSR, pid, offsetof(struct user, regs.rax), &value);
		SAY(value);
	}
	SHOW(ptrace, PTRACE_POKEUSR, pid, offsetof(struct user, regs.rax), 60);
	SHOW(ptrace, PTRACE_POKEUSR, pid, offsetof(struct user, regs.cs), 0);
	SHOW(ptrace, PTRACE_POKEUSR, pid, offsetof(struct user, regs.fs_base), -1);
	SHOW(ptrace, PTRACE_PEEKUSR, pid, 1, &value);
	SHOW(ptrace, PTRACE_PEEKUSR, pid, sizeof(struct user), &value);
	SHOW(ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &set);
	SAY(set.iov_len);
	SAY(regs.rax);
	set.iov_len = 16;
	SHOW(ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &set);
	SAY(set.iov_len);
	set.iov_len = 17;
	SHOW(ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, &set);
	set.iov_len = 16;
	SHOW(ptrace, PTRACE_GETREGSET, pid, 0x999, &set);
	SHOW(ptrace, PTRACE_GETREGSET, pid, NT_PRSTATUS, NOWHERE);
	SHOW(ptrace, PTRACE_GETFPREGS, pid, 0, &fp);
	print("cwd %x, mxcsr %x\n", fp.cwd, fp.mxcsr);
	fp.xmm_space[0] = 1234;
	SHOW(ptrace, PTRACE_SETFPREGS, pid, 0, &fp);
	set = (struct iovec){ &fp, sizeof(fp) };
	SHOW(ptrace, PTRACE_GETREGSET, pid, NT_PRFPREG, &set);
	SAY(fp.xmm_space[0]);
	fp.mxcsr = 0x10000;
	SHOW(ptrace, PTRACE_SETFPREGS, pid, 0, &fp);
	SHOW(ptrace, PTRACE_GETREGS, pid, 0, NOWHERE);
	SHOW(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid);
	return 0;
}
