/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_NPROC: EAGAIN of fork, vfork, clone and clone3 for a user. */
// needs: root
#include "native.h"
#include <linux/sched.h>

int main(void)
{
	struct rlimit limit = { 1, 1 };
	struct clone_args args = { .exit_signal = SIGCHLD };
	become(54321);
	MUST(setrlimit, RLIMIT_NPROC, &limit);
	SHOW(fork);
	SHOW(vfork);
	SHOW(clone, SIGCHLD, 0, 0, 0, 0);
	SHOW(clone3, &args, sizeof(args));
	return 0;
}
