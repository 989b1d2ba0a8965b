/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sched_get_priority_max(2), _min(2), sched_rr_get_interval(2), sched_yield(2). */
#include "native.h"

int main(void)
{
	struct timespec t;
	for (int policy = -1; policy < 8; policy++)
		print("%d: %s %ld %s %ld\n", policy, result_name(SYS(sched_get_priority_max, policy)),
			  SYS(sched_get_priority_max, policy), result_name(SYS(sched_get_priority_min, policy)),
			  SYS(sched_get_priority_min, policy));
	SHOW(sched_get_priority_max, 99);
	SHOW(sched_get_priority_min, 99);
	SHOW(sched_rr_get_interval, -1, &t);
	SHOW(sched_rr_get_interval, 1 << 30, &t);
	SHOW(sched_rr_get_interval, 0, NOWHERE);
	DO(sched_rr_get_interval, 0, &t);
	SHOW(sched_yield);
	return 0;
}
