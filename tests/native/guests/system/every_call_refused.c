/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A filter refuses every call of Linux up to 6.0 with EPERM: with zeros, with ones, and with one argument 1 or 2. */
#include "native.h"
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#define LOAD BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)

/* What differs from kernel to kernel, and what strace 6.1 has no name for. */
static int left_out(int number)
{
	static const int numbers[] = { __NR_exit, __NR_exit_group, __NR_write, __NR_restart_syscall, __NR_getcpu, __NR_rt_sigreturn,
		__NR_landlock_restrict_self, __NR_pidfd_send_signal };

	for (unsigned i = 0; i < COUNT(numbers); i++)
		if (numbers[i] == number)
			return 1;
	return number > 334 && number < 424;
}

int main(void)
{
	struct sock_filter code[] = { LOAD, IF(__NR_write), RETURN(SECCOMP_RET_ALLOW), IF(__NR_exit_group),
		RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_ERRNO | EPERM) };
	struct sock_fprog program = { COUNT(code), code };
	int allowed = 0, called = 0;

	MUST(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	MUST(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
	for (int number = 0; number <= 450; number++) {
		if (left_out(number))
			continue;
		for (int way = 0; way < 8; way++) {
			long a[6];

			for (int i = 0; i < 6; i++)
				a[i] = way == 7 || way == i + 1;
			allowed += system_call(number, a[0], a[1], a[2], a[3], a[4], a[5]) != -EPERM;
			called++;
		}
	}
	print("%d calls, %d not refused\n", called, allowed);
	return 0;
}
