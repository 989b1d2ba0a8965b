/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: two cpus */
/* cpu_id of a registered thread follows the CPU on which it runs, and threads that run at once have numbers of their own. */
#include "native.h"

#define SIGNATURE 0x53053053

struct rseq_area {
	u32 cpu_id_start, cpu_id;
	u64 rseq_cs;
	u32 flags, node_id, mm_cid, end;
} __attribute__((aligned(32)));

static struct rseq_area areas[4];
static volatile int go, wrong, large;

static int work(u64 number)
{
	struct rseq_area *area = areas + number;

	MUST(rseq, area, 32, 0, SIGNATURE);
	while (!go)
		SYS(sched_yield);
	for (int i = 0; i < 200; i++) {
		u64 mask = 1UL << ((i + number) & 1);
		u32 cpu = 99;
		MUST(sched_setaffinity, 0, sizeof(mask), &mask);
		MUST(getcpu, &cpu, NULL, NULL);
		if (*(volatile u32 *)&area->cpu_id != cpu || *(volatile u32 *)&area->cpu_id_start != cpu)
			wrong = 1;
		if (*(volatile u32 *)&area->mm_cid > 4)
			large = 1;
	}
	MUST(rseq, area, 32, 1, SIGNATURE);
	return 0;
}

int main(void)
{
	volatile int tids[COUNT(areas)];

	for (u64 i = 0; i < COUNT(areas); i++)
		thread(work, i, tids + i);
	go = 1;
	for (u64 i = 0; i < COUNT(areas); i++)
		join(tids + i);
	SAY(wrong);
	SAY(large);
	return 0;
}
