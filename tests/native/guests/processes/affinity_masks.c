/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched_setaffinity(2), sched_getaffinity(2), getcpu(2). */
#include "native.h"

int main(void)
{
	u64 mask[16] = { 0 }, none = 0;
	u32 cpu = 99, node = 99;
	SAY(SYS(sched_getaffinity, 0, sizeof(mask), mask) > 0);
	SAY(mask[0] != 0);
	SHOW(sched_setaffinity, 0, sizeof(mask), mask);
	SHOW(sched_setaffinity, 0, 8, &none);
	SHOW(sched_setaffinity, 0, 8, NOWHERE);
	SHOW(sched_setaffinity, 1 << 30, 8, mask);
	SHOW(sched_setaffinity, -1, 8, mask);
	SHOW(sched_getaffinity, 0, 7, mask);
	SHOW(sched_getaffinity, 0, 0, mask);
	SHOW(sched_getaffinity, 1 << 30, sizeof(mask), mask);
	SHOW(sched_getaffinity, 0, sizeof(mask), NOWHERE);
	SHOW(getcpu, &cpu, &node, NULL);
	SAY(cpu < 64 && node == 0);
	SHOW(getcpu, NULL, NULL, NULL);
	SHOW(getcpu, NOWHERE, NULL, NULL);
	SHOW(getcpu, NULL, NOWHERE, NULL);
	return 0;
}
