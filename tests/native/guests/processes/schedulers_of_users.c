/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Only root takes a real-time scheduling class. */
// needs: root
#include "native.h"

int main(void)
{
	struct { int priority; } param = { 5 };
	long pid = MUST(fork);
	if (pid) {
		reap(pid);
		return 0;
	}
	become(1000);
	struct rlimit none = { 0, 0 };
	MUST(setrlimit, RLIMIT_RTPRIO, &none);
	SHOW(sched_setscheduler, 0, SCHED_FIFO, &param);
	SHOW(sched_setscheduler, 0, SCHED_RR, &param);
	param.priority = 0;
	SHOW(sched_setscheduler, 0, SCHED_BATCH, &param);
	SHOW(sched_setscheduler, 0, SCHED_IDLE, &param);
	SHOW(sched_getscheduler, 0);
	SHOW(sched_setscheduler, SYS(getppid), SCHED_OTHER, &param);
	SHOW(sched_setparam, SYS(getppid), &param);
	return 0;
}
