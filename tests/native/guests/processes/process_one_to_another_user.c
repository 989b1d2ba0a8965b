/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: root */
/* Process 1 is there for whoever asks about it, and another user may do nothing to it. */
#include "native.h"
#include <linux/capability.h>

#define NOBODY 65534

int main(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)PAGE, 1 };
	struct rlimit limit = { 1024, 1024 };
	int priority = 0, info[32] = { [2] = SI_QUEUE }, fds[2];
	u64 mask;
	void *head;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 1 };
	struct __user_cap_data_struct data[2];

	SHOW(kill, 1, 0);
	MUST(setresgid, NOBODY, NOBODY, NOBODY);
	MUST(setresuid, NOBODY, NOBODY, NOBODY);
	SHOW(kill, 1, 0);
	SHOW(kill, 1, 65);
	SHOW(tkill, 1, 0);
	SHOW(tgkill, 1, 1, 0);
	SHOW(tgkill, 2, 1, 0);
	SHOW(rt_sigqueueinfo, 1, 0, info);
	SHOW(rt_tgsigqueueinfo, 1, 1, 0, info);
	DO(getpgid, 1);
	DO(getsid, 1);
	SHOW(setpgid, 1, 0);
	SHOW(setpgid, 0, 1);
	DO(sched_getscheduler, 1);
	SHOW(sched_getparam, 1, &priority);
	SHOW(sched_setscheduler, 1, SCHED_OTHER, &priority);
	DO(sched_getaffinity, 1, 8, &mask);
	SHOW(sched_setaffinity, 1, 8, &mask);
	DO(getpriority, PRIO_PROCESS, 1);
	SHOW(setpriority, PRIO_PROCESS, 1, 5);
	DO(ioprio_get, 1, 1);
	SHOW(ioprio_set, 1, 1, 0x4004);
	SHOW(prlimit64, 1, RLIMIT_NOFILE, NULL, &limit);
	SHOW(prlimit64, 1, RLIMIT_NOFILE, &limit, NULL);
	SHOW(process_vm_readv, 1, &here, 1, &there, 1, 0);
	SHOW(ptrace, 16, 1, 0, 0);
	SHOW(ptrace, 0x4206, 1, 0, 0);
	SHOW(ptrace, 7, 1, 0, 0);
	SHOW(get_robust_list, 1, &head, &mask);
	SHOW(kcmp, SYS(getpid), 1, 1, 0, 0);
	SHOW(capget, &header, data);
	SHOW(move_pages, 1, 0, NULL, NULL, NULL, 0);

	int pidfd = MUST(pidfd_open, 1, 0);
	struct pollfd ended = { pidfd, POLLIN, 0 };
	SHOW(poll, &ended, 1, 0);
	SHOW(pidfd_send_signal, pidfd, 0, NULL, 0);
	SHOW(pidfd_getfd, pidfd, 0, 0);
	SHOW(waitid, P_PIDFD, pidfd, NULL, WEXITED, NULL);
	SHOW(wait4, 1, NULL, 0, NULL);

	MUST(pipe2, fds, 0);
	SHOW(fcntl, fds[0], F_SETOWN, 1);
	SHOW(fcntl, fds[0], F_GETOWN);
	return 0;
}
