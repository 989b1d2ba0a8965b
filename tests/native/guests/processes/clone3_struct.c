/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clone3(2): sizes, unknown fields, what it checks. */
#include "native.h"
#include <linux/sched.h>

static char big[8192];

int main(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	long pid = MUST(clone3, &args, sizeof(args));
	if (!pid)
		leave(2);
	reap(pid);
	pid = MUST(clone3, &args, 64);
	if (!pid)
		leave(3);
	reap(pid);
	SHOW(clone3, &args, 63);
	SHOW(clone3, NOWHERE, 64);
	SHOW(clone3, big, 4097);
	big[200] = 1;
	SHOW(clone3, big, 4096);
	args.exit_signal = 65;
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .flags = CLONE_THREAD };
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .flags = 1UL << 40 };
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .stack = 4096 };
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .stack_size = 4096 };
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .flags = CLONE_DETACHED };
	SHOW(clone3, &args, sizeof(args));
	args = (struct clone_args){ .set_tid_size = 1 };
	SHOW(clone3, &args, sizeof(args));
	int pidfd = -1;
	args = (struct clone_args){ .flags = CLONE_PIDFD, .pidfd = (u64)&pidfd, .exit_signal = SIGCHLD };
	pid = MUST(clone3, &args, sizeof(args));
	if (!pid)
		leave(4);
	SAY(pidfd);
	reap(pid);
	return 0;
}
