/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_PARENT: the new process is the caller's sibling, and its parent gets the signal that the caller sends. */
#include "native.h"
#include <linux/sched.h>

static int signals;

static void on_signal(int signo UNUSED)
{
	signals++;
}

int main(void)
{
	int *shared = (int *)MUST(mmap, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct clone_args with_signal = { .flags = CLONE_PARENT, .exit_signal = SIGUSR1 };
	int status;

	handle(SIGCHLD, on_signal, SA_RESTART);
	long first = MUST(fork);
	if (!first) {
		SHOW(clone3, &with_signal, sizeof(with_signal));
		long sibling = MUST(clone, CLONE_PARENT | SIGUSR1, 0, 0, 0, 0);
		if (!sibling) {
			shared[1] = SYS(getppid);
			leave(5);
		}
		shared[0] = sibling;
		SHOW(wait4, sibling, &status, 0, NULL);
		SHOW(wait4, -1, &status, 0, NULL);
		leave(6);
	}
	reap(first);
	print("the sibling is mine: %d\n", SYS(wait4, shared[0], &status, 0, NULL) == shared[0]);
	print("status %d, its parent is me: %d, signals %d\n", WEXITSTATUS(status), shared[1] == SYS(getpid), signals > 0);
	SHOW(wait4, -1, &status, 0, NULL);
	return 0;
}
