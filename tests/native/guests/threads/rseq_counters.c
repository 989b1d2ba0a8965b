/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads count in one word for each CPU without a lock: restartable sequences lose no count. */
#include "native.h"

#define SIGNATURE 0x53053053
#define ROUNDS 3000

struct rseq_area {
	u32 cpu_id_start, cpu_id;
	u64 rseq_cs;
	u32 flags, node_id, mm_cid, end;
} __attribute__((aligned(32)));

static struct rseq_area areas[4];
static u64 counters[1024];
static volatile int aborts;

/* counters[cpu]++ in several instructions; 1 if it was aborted. */
long add(struct rseq_area *area, u64 *counters);
__asm__(".data\n"
	"	.balign 32\n"
	"add_cs:\n"
	"	.long 0, 0\n"
	"	.quad 1f, 2f - 1f, 3f\n"
	".text\n"
	"add:\n"
	"	movq $add_cs, 8(%rdi)\n"
	"1:	mov 4(%rdi), %eax\n"
	"	mov (%rsi, %rax, 8), %rdx\n"
	"	jmp 4f\n"
	"4:	inc %rdx\n"
	"	jmp 5f\n"
	"5:	mov %rdx, (%rsi, %rax, 8)\n"
	"2:	xor %eax, %eax\n"
	"	ret\n"
	"	.byte 0x0f, 0xb9, 0x3d\n"
	"	.long 0x53053053\n"
	"3:	mov $1, %eax\n"
	"	ret\n");

static int work(u64 number)
{
	MUST(rseq, areas + number, 32, 0, SIGNATURE);
	for (int i = 0; i < ROUNDS; i++)
		while (add(areas + number, counters))
			__atomic_fetch_add(&aborts, 1, __ATOMIC_RELAXED);
	MUST(rseq, areas + number, 32, 1, SIGNATURE);
	return 0;
}

int main(int argc, char **argv)
{
	volatile int tids[COUNT(areas)];
	u64 sum = 0;

	(void)argv;
	for (u64 i = 0; i < COUNT(areas); i++)
		thread(work, i, tids + i);
	for (u64 i = 0; i < COUNT(areas); i++)
		join(tids + i);
	for (u64 i = 0; i < COUNT(counters); i++)
		sum += counters[i];
	SAY(sum);
	if (argc > 1)
		SAY(aborts > 0);
	return 0;
}
