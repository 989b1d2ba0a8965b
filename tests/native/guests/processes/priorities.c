/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getpriority(2) and setpriority(2): ranges, whom, rights. */
// needs: root
#include "native.h"

int main(void)
{
	SHOW(getpriority, PRIO_PROCESS, 0);
	SHOW(setpriority, PRIO_PROCESS, 0, 5);
	SHOW(getpriority, PRIO_PROCESS, 0);
	SHOW(setpriority, PRIO_PROCESS, 0, 100);
	SHOW(getpriority, PRIO_PROCESS, 0);
	SHOW(setpriority, PRIO_PROCESS, 0, -100);
	SHOW(getpriority, PRIO_PROCESS, 0);
	SHOW(getpriority, 3, 0);
	SHOW(setpriority, 3, 0, 0);
	SHOW(getpriority, PRIO_PROCESS, 1 << 30);
	SHOW(setpriority, PRIO_PROCESS, 1 << 30, 0);
	SHOW(getpriority, PRIO_PGRP, 1 << 30);
	SHOW(getpriority, PRIO_USER, 54321);
	SHOW(setpriority, PRIO_PROCESS, 0, 3);
	long pid = MUST(fork);
	if (pid) {
		reap(pid);
		return 0;
	}
	become(1000);
	SHOW(setpriority, PRIO_PROCESS, 0, 4);
	SHOW(setpriority, PRIO_PROCESS, 0, 2);
	SHOW(setpriority, PRIO_PROCESS, SYS(getppid), 10);
	SHOW(getpriority, PRIO_PROCESS, SYS(getppid));
	SHOW(getpriority, PRIO_PGRP, 0);
	return 0;
}
