/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seccomp(2): strict mode, filters, what they answer, and programs that are none. */
#include "native.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define PROGRAM(...)                                                                             \
	struct sock_filter code[] = { __VA_ARGS__ };                                             \
	struct sock_fprog program = { COUNT(code), code }

static void refuse_getpgid(u32 action)
{
	PROGRAM(LOAD(nr), IF(__NR_getpgid), RETURN(action), RETURN(SECCOMP_RET_ALLOW));
	SHOW(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void no_program(struct sock_filter first)
{
	PROGRAM(first, RETURN(SECCOMP_RET_ALLOW));
	SHOW(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void in_a_child(void (*work)(void))
{
	int pid = MUST(fork), status;

	if (!pid) {
		work();
		leave(0);
	}
	MUST(wait4, pid, &status, 0, NULL);
	print("child: %x\n", status & 0x7f ? status & 0x7f : status);
}

static void strict(void)
{
	SHOW(seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
	SYS(getpgid, 0);
}

static void answers(void)
{
	refuse_getpgid(SECCOMP_RET_ERRNO | EDOM);
	SHOW(getpgid, 0);
	refuse_getpgid(SECCOMP_RET_KILL_PROCESS);
	SYS(getpgid, 0);
}

static void two_filters(void)
{
	refuse_getpgid(SECCOMP_RET_ERRNO | EDOM);
	refuse_getpgid(SECCOMP_RET_LOG);
	SHOW(getpgid, 0);
	SHOW(prctl, PR_GET_SECCOMP);
	SHOW(seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
	refuse_getpgid(SECCOMP_RET_TRAP);
	SYS(getpgid, 0);
}

int main(void)
{
	u32 action = SECCOMP_RET_TRAP, unknown = 0x12340000;

	SHOW(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	SHOW(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
	SHOW(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown);
	SHOW(seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL);
	SHOW(seccomp, SECCOMP_SET_MODE_FILTER, 0x4000, NULL);
	SHOW(seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL);
	SHOW(seccomp, 9, 0, NULL);
	no_program((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64));
	no_program((struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0));
	no_program((struct sock_filter)BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0));
	no_program((struct sock_filter)BPF_STMT(BPF_ST, 16));
	no_program((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0));
	in_a_child(strict);
	in_a_child(answers);
	in_a_child(two_filters);
	return 0;
}
