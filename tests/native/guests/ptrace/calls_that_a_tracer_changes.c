/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tracer skips a call (number -1), makes another of it, and changes the result; calls that restart. */
#include "native.h"
#include <linux/ptrace.h>
#include <sys/user.h>

static void on_signal(int signo UNUSED)
{
}

static void child(void)
{
	struct timespec time = { 0, 50000000 };
	struct itimerval soon = { { 0, 0 }, { 0, 20000 } };
	int fds[2];
	char byte;

	MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
	SYS(kill, SYS(getpid), SIGSTOP);
	print("skipped: %ld\n", SYS(close, 1001));
	print("another: %s\n", result_name(SYS(close, 1002)));
	print("result: %ld\n", SYS(close, 1003));
	MUST(pipe2, fds, 0);
	MUST(setitimer, ITIMER_REAL, &soon, NULL); /* SIGALRM, which the tracer suppresses */
	print("nanosleep: %ld\n", SYS(nanosleep, &time, NULL));
	handle(SIGALRM, on_signal, 0);
	MUST(setitimer, ITIMER_REAL, &soon, NULL);
	print("read: %s\n", result_name(SYS(read, fds[0], &byte, 1)));
	leave(5);
}

int main(void)
{
	struct user_regs_struct regs;
	int status, passed = 0, in_call = 0;
	long pid = MUST(fork), before = 0;

	if (!pid)
		child();
	SHOW(restart_syscall); /* which only the kernel has others call */
	MUST(wait4, pid, &status, 0, NULL);
	MUST(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	for (int signo = 0;;) {
		MUST(ptrace, PTRACE_SYSCALL, pid, 0, signo);
		MUST(wait4, pid, &status, 0, NULL);
		signo = 0;
		if (!WIFSTOPPED(status))
			break;
		MUST(ptrace, PTRACE_GETREGS, pid, 0, &regs);
		if (WSTOPSIG(status) == SIGALRM) {
			print("SIGALRM: orig_rax %ld, rax %ld\n", (long)regs.orig_rax, (long)regs.rax);
			signo = passed++ ? SIGALRM : 0;
			continue;
		}
		in_call = !in_call;
		if (in_call && regs.orig_rax == __NR_restart_syscall)
			print("restart_syscall\n");
		if (in_call) {
			before = regs.orig_rax == __NR_close ? regs.rdi : 0;
			if (before == 1001) {
				regs.orig_rax = -1;
				regs.rax = 77;
			} else if (before == 1002) {
				regs.orig_rax = __NR_rmdir;
				regs.rdi = 16;
			}
		} else if (before == 1003) {
			regs.rax = 88;
		} else if ((long)regs.rax <= -512 && (long)regs.rax >= -516) {
			print("interrupted: %ld\n", (long)regs.rax);
		}
		MUST(ptrace, PTRACE_SETREGS, pid, 0, &regs);
	}
	print("exit %d\n", WEXITSTATUS(status));
	return 0;
}
