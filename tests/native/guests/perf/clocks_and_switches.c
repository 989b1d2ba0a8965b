/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): clocks run while the task does, and a sleep is a context switch. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

int main(void)
{
	int task = event(PERF_COUNT_SW_TASK_CLOCK, 0, -1), cpu = event(PERF_COUNT_SW_CPU_CLOCK, 0, -1);
	int switches = event(PERF_COUNT_SW_CONTEXT_SWITCHES, 3, -1), dummy = event(PERF_COUNT_SW_DUMMY, 0, -1);
	int alignment = event(PERF_COUNT_SW_ALIGNMENT_FAULTS, 0, -1);
	int emulation = event(PERF_COUNT_SW_EMULATION_FAULTS, 0, -1);
	u64 got[3];
	MUST(ioctl, switches, ENABLE, 0);
	MUST(ioctl, dummy, ENABLE, 0);
	MUST(ioctl, alignment, ENABLE, 0);
	MUST(ioctl, emulation, ENABLE, 0);
	MUST(ioctl, task, ENABLE, 0);
	MUST(ioctl, cpu, ENABLE, 0);
	sleep_ms(50);
	u64 one = count(task), other = count(cpu);
	print("%d %d\n", one > 0 && one < 40000000, other > 0 && other < 40000000);
	MUST(read, switches, got, 24);
	print("%d %d %d\n", got[0] >= 1, got[1] > 0 && got[1] < 40000000, got[1] == got[2]);
	print("%lu %lu %lu\n", count(dummy), count(alignment), count(emulation));
	for (volatile int n = 0; n < 1000000; n++)
		;
	print("%d\n", count(task) > one);
	MUST(ioctl, task, DISABLE, 0);
	one = count(task);
	for (volatile int n = 0; n < 1000000; n++)
		;
	print("%d\n", count(task) == one);
	return 0;
}
