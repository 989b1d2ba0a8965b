/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched_setscheduler(2) and what goes with it, as root. */
// needs: root
#include "native.h"

struct sched_attr { u32 size, sched_policy; u64 flags; int sched_nice; u32 sched_priority; u64 runtime, deadline, period; u32 low, high; };

int main(void)
{
	struct { int priority; } param = { 5 }, got = { -1 };
	struct sched_attr attr = { .size = 56 };
	SHOW(sched_getscheduler, 0);
	SHOW(sched_setscheduler, 0, SCHED_FIFO, &param);
	SHOW(sched_getscheduler, 0);
	SHOW(sched_getparam, 0, &got);
	SAY(got.priority);
	param.priority = 100;
	SHOW(sched_setscheduler, 0, SCHED_FIFO, &param);
	SHOW(sched_setparam, 0, &param);
	param.priority = 7;
	SHOW(sched_setparam, 0, &param);
	SHOW(sched_setscheduler, 0, SCHED_OTHER, &param);
	SHOW(sched_setscheduler, 0, 99, &param);
	SHOW(sched_setscheduler, -1, SCHED_FIFO, &param);
	SHOW(sched_setscheduler, 1 << 30, SCHED_FIFO, &param);
	SHOW(sched_setscheduler, 0, SCHED_FIFO, NULL);
	SHOW(sched_setscheduler, 0, SCHED_FIFO, NOWHERE);
	SHOW(sched_setscheduler, 0, -1, &param);
	SHOW(sched_getscheduler, -1);
	SHOW(sched_getscheduler, 1 << 30);
	SHOW(sched_getparam, 0, NULL);
	SHOW(sched_getparam, 0, NOWHERE);
	SHOW(sched_getparam, -1, &got);
	SHOW(sched_getparam, 1 << 30, &got);
	SHOW(sched_setparam, -1, &param);
	SHOW(sched_getattr, 0, &attr, 56, 0);
	print("%u %u %u\n", attr.size, attr.sched_policy, attr.sched_priority);
	SHOW(sched_getattr, 0, &attr, 47, 0);
	SHOW(sched_getattr, 0, &attr, 4097, 0);
	SHOW(sched_getattr, 0, NULL, 48, 0);
	SHOW(sched_getattr, 0, &attr, 48, 1);
	SHOW(sched_getattr, 1 << 30, &attr, 48, 0);
	attr = (struct sched_attr){ .size = 48, .sched_policy = SCHED_OTHER, .sched_nice = 3 };
	SHOW(sched_setattr, 0, &attr, 0);
	SHOW(getpriority, PRIO_PROCESS, 0);
	SHOW(sched_setattr, 0, &attr, 1);
	SHOW(sched_setattr, 0, NULL, 0);
	SHOW(sched_setattr, 1 << 30, &attr, 0);
	attr.sched_policy = 99;
	SHOW(sched_setattr, 0, &attr, 0);
	attr.size = 5;
	SHOW(sched_setattr, 0, &attr, 0);
	print("%u\n", attr.size);
	return 0;
}
