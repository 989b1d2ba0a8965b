/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fork(2) and wait4(2): statuses, WNOHANG, and children that are not ours. */
#include "native.h"

int main(void)
{
	int status = 0;
	struct rusage usage;
	SHOW(wait4, -1, &status, 0, NULL);
	SHOW(wait4, 1, &status, 0, NULL);
	SHOW(wait4, -1, &status, 0x1000, NULL);
	SHOW(wait4, -1, NOWHERE, WNOHANG, NULL);
	long pid = MUST(fork);
	if (!pid)
		leave(7);
	SAY(SYS(wait4, pid, &status, 0, &usage) == pid);
	print("%x\n", status);
	SHOW(wait4, pid, &status, 0, NULL);
	int fds[2];
	MUST(pipe2, fds, 0);
	pid = MUST(fork);
	if (!pid) {
		MUST(close, fds[1]);
		SYS(read, fds[0], &status, 1);
		leave(0);
	}
	SHOW(wait4, pid, &status, WNOHANG, NULL);
	SHOW(wait4, 0, &status, WNOHANG, NULL);
	SHOW(wait4, -SYS(getpgrp), &status, WNOHANG, NULL);
	SHOW(wait4, 1 << 31, &status, WNOHANG, NULL);
	MUST(close, fds[1]);
	SAY(SYS(wait4, 0, NULL, 0, NULL) == pid);
	pid = MUST(fork);
	if (!pid)
		leave(0);
	SHOW(wait4, pid, NOWHERE, 0, NULL);
	SHOW(wait4, pid, &status, 0, NULL);
	return 0;
}
