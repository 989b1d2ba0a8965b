/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child whose parent has ended has another one: a subreaper above it, if there is one. */
#include "native.h"
#include <linux/prctl.h>

int main(void)
{
	int fds[2], number = 0;
	char byte;
	MUST(pipe2, fds, 0);
	SHOW(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	SHOW(prctl, PR_GET_CHILD_SUBREAPER, &number, 0, 0, 0);
	SAY(number);
	long pid = MUST(fork);
	if (!pid) {
		long parent = SYS(getpid);

		if (!MUST(fork)) {
			while (SYS(getppid) == parent)
				sleep_ms(1);
			MUST(write, fds[1], "x", 1);
			leave(5);
		}
		leave(4);
	}
	reap(pid);
	MUST(read, fds[0], &byte, 1);
	int status = 0;
	SAY(SYS(wait4, -1, &status, 0, NULL) > 0);
	print("%x\n", status);
	SHOW(wait4, -1, &status, 0, NULL);
	return 0;
}
