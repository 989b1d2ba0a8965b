/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* A tracer reads the seccomp filters of its tracee, and suspends them (PTRACE_O_SUSPEND_SECCOMP). */
#include "native.h"
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>

int main(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
				      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getpgid, 0, 1),
				      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
				      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog two = { 4, code }, one = { 1, code + 3 };
	struct sock_filter got[8] = { 0 };
	struct seccomp_metadata data = { 0 };
	long pid = MUST(fork);

	if (!pid) {
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		MUST(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &one);
		MUST(seccomp, SECCOMP_SET_MODE_FILTER, 0, &two);
		SHOW(getpgid, -1);
		SYS(kill, SYS(getpid), SIGSTOP);
		SHOW(getpgid, -1);
		SYS(kill, SYS(getpid), SIGSTOP);
		SHOW(getpgid, -1);
		leave(0);
	}
	MUST(wait4, pid, 0, __WALL, 0);
	SHOW(ptrace, PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL);
	SHOW(ptrace, PTRACE_SECCOMP_GET_FILTER, pid, 1, got);
	print("%x %u %u %x\n", got[1].code, got[1].jt, got[1].jf, got[1].k);
	SHOW(ptrace, PTRACE_SECCOMP_GET_FILTER, pid, 2, NULL);
	SHOW(ptrace, PTRACE_SECCOMP_GET_FILTER, pid, 1, NOWHERE);
	SHOW(ptrace, PTRACE_SECCOMP_GET_METADATA, pid, sizeof(data), &data);
	print("flags %lx\n", (u64)data.flags);
	data.filter_off = 1;
	SHOW(ptrace, PTRACE_SECCOMP_GET_METADATA, pid, 100, &data);
	print("flags %lx\n", (u64)data.flags);
	SHOW(ptrace, PTRACE_SECCOMP_GET_METADATA, pid, 8, &data);
	SHOW(ptrace, PTRACE_SECCOMP_GET_METADATA, pid, 7, &data);
	MUST(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_SUSPEND_SECCOMP);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	MUST(wait4, pid, 0, __WALL, 0);
	MUST(ptrace, PTRACE_SETOPTIONS, pid, 0, 0);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	reap(pid);
	/* who has filters may neither look nor suspend */
	pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	MUST(seccomp, SECCOMP_SET_MODE_FILTER, 0, &one);
	SHOW(ptrace, PTRACE_SEIZE, pid, 0, PTRACE_O_SUSPEND_SECCOMP);
	MUST(ptrace, PTRACE_SEIZE, pid, 0, 0);
	MUST(ptrace, PTRACE_INTERRUPT, pid, 0, 0);
	MUST(wait4, pid, 0, __WALL, 0);
	SHOW(ptrace, PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL);
	SHOW(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_SUSPEND_SECCOMP);
	MUST(kill, pid, SIGKILL);
	return 0;
}
