/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rseq(2): what registering and unregistering refuse, and what the thread then knows. */
#include "native.h"

#define SIGNATURE 0x53053053

struct rseq_area {
	u32 cpu_id_start, cpu_id;
	u64 rseq_cs;
	u32 flags, node_id, mm_cid, end;
	u32 more[8];
} __attribute__((aligned(32)));

static struct rseq_area area, other;

int main(void)
{
	area.cpu_id = -1;
	SHOW(rseq, &area, 32, 2, SIGNATURE);
	SHOW(rseq, &area, 32, 1, SIGNATURE);
	SHOW(rseq, &area, 31, 0, SIGNATURE);
	SHOW(rseq, &area, 28, 0, SIGNATURE);
	SHOW(rseq, (char *)&area + 16, 32, 0, SIGNATURE);
	SHOW(rseq, (char *)&area + 16, 64, 0, SIGNATURE);
	SHOW(rseq, 0xffffffffffff0000, 32, 0, SIGNATURE);
	SHOW(rseq, (void *)32, 32, 0, SIGNATURE);
	area.rseq_cs = 16;
	SHOW(rseq, &area, 32, 0, SIGNATURE);
	SAY(area.rseq_cs);
	SAY(area.cpu_id < 1024);
	SAY(area.cpu_id_start == area.cpu_id);
	SAY(area.node_id);
	SAY(area.mm_cid);
	SHOW(rseq, &area, 32, 0, SIGNATURE);
	SHOW(rseq, &area, 32, 0, SIGNATURE + 1);
	SHOW(rseq, &area, 64, 0, SIGNATURE);
	SHOW(rseq, &other, 32, 0, SIGNATURE);
	SHOW(rseq, &other, 32, 1, SIGNATURE);
	SHOW(rseq, &area, 64, 1, SIGNATURE);
	SHOW(rseq, &area, 32, 1, SIGNATURE + 1);
	SHOW(rseq, &area, 32, 3, SIGNATURE);
	long pid = MUST(fork);
	if (!pid) {
		SHOW(rseq, &area, 32, 0, SIGNATURE);
		leave(0);
	}
	reap(pid);
	SHOW(rseq, &area, 32, 1, SIGNATURE);
	SAY(area.cpu_id == (u32)-1);
	SAY(area.cpu_id_start);
	SHOW(rseq, &area, 32, 1, SIGNATURE);
	SHOW(rseq, &area, 64, 0, SIGNATURE);
	SAY(area.cpu_id < 1024);
	SHOW(rseq, &area, 64, 1, SIGNATURE);
	return 0;
}
