/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* SECCOMP_RET_TRACE: the tracer hears of a call before it is made, changes it, skips it, or does not want to know. */
#include "native.h"
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <sys/user.h>

static void next(long pid, struct user_regs_struct *regs)
{
	int status;
	u64 message = 0;

	MUST(wait4, pid, &status, __WALL, NULL);
	if (!WIFSTOPPED(status)) {
		print("status %x\n", status);
		return;
	}
	MUST(ptrace, PTRACE_GETREGS, pid, 0, regs);
	MUST(ptrace, PTRACE_GETEVENTMSG, pid, 0, &message);
	u8 info[88] = { 0 };
	if (status >> 16 == 7) {
		SHOW(ptrace, PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), info);
		print("op %d, nr %d, data %d\n", info[0], info[24], info[80]);
	}
	print("%s %x, event %d, message %lu, call %ld, rax %ld\n", signal_name(WSTOPSIG(status) & 0x7f),
	      WSTOPSIG(status) & 0x80, status >> 16, status >> 16 == 7 ? message : 0UL, (long)regs->orig_rax,
	      status >> 16 ? (long)regs->rax : 0L);
}

int main(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
				      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getpgid, 0, 1),
				      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 77),
				      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { COUNT(code), code };
	struct user_regs_struct regs;
	long pid = MUST(fork);

	if (!pid) {
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		MUST(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
		SYS(kill, SYS(getpid), SIGSTOP);
		SHOW(getpgid, -1);
		SHOW(getpgid, -1);
		SHOW(getpgid, -1);
		SHOW(getpgid, -1);
		SHOW(getpgid, -1);
		leave(3);
	}
	next(pid, &regs);
	MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs); /* the first: its beginning, and its end with ENOSYS, since nobody wants to know of filters */
	MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs);
	MUST(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs); /* the second */
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs); /* the third becomes another call */
	regs.orig_rax = __NR_dup;
	regs.rdi = 99;
	MUST(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs); /* the fourth is skipped */
	regs.orig_rax = -1;
	regs.rax = -EXDEV;
	MUST(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs);
	MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs); /* write */
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs); /* the fifth */
	MUST(ptrace, PTRACE_SYSCALL, pid, 0, 0);
	next(pid, &regs);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next(pid, &regs);
	return 0;
}
