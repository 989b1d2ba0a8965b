/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setpgid(2), getpgid(2), getsid(2), setsid(2) of a group's leader and its child. */
#include "native.h"

int main(void)
{
	long me = SYS(getpid);
	SAY(SYS(getpgrp) == me);
	SAY(SYS(getpgid, 0) == me);
	SHOW(setsid);
	SHOW(setpgid, 0, 0);
	SHOW(setpgid, 1 << 30, 0);
	SHOW(setpgid, -1, 0);
	SHOW(setpgid, 0, -1);
	SHOW(getpgid, 1 << 30);
	SHOW(getsid, 1 << 30);
	SHOW(getpgid, -1);
	SHOW(getsid, -1);
	long pid = MUST(fork);
	if (!pid) {
		SAY(SYS(getpgrp) == me);
		SHOW(setpgid, 0, 1 << 30);
		SHOW(setpgid, 0, 0);
		SAY(SYS(getpgrp) == SYS(getpid));
		SHOW(setpgid, 0, me);
		SAY(SYS(setsid) == SYS(getpid));
		SHOW(setsid);
		SHOW(setpgid, 0, me);
		SHOW(setpgid, me, 0);
		leave(0);
	}
	reap(pid);
	int fds[2], byte;
	MUST(pipe2, fds, 0);
	pid = MUST(fork);
	if (!pid) {
		MUST(close, fds[1]);
		SYS(read, fds[0], &byte, 1);
		leave(0);
	}
	SHOW(setpgid, pid, pid);
	SAY(SYS(getpgid, pid) == pid);
	SAY(SYS(getsid, pid) == SYS(getsid, 0));
	MUST(close, fds[1]);
	reap(pid);
	return 0;
}
