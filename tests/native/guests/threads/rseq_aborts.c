/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A restartable sequence that a signal or another thread cuts off goes on at its abort handler; unusable ones are SIGSEGV. */
#include "native.h"

#include <sys/syscall.h>

#define SIGNATURE 0x53053053

struct rseq_area {
	u32 cpu_id_start, cpu_id;
	u64 rseq_cs;
	u32 flags, node_id, mm_cid, end;
} __attribute__((aligned(32)));

struct rseq_cs {
	u32 version, flags;
	u64 start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32)));

static struct rseq_area area;
static struct rseq_cs cs;
static volatile u64 left;
static volatile int handled, in_sequence;
extern char start[], commit[], aborted[];

/* Turns until it is aborted, or so many times; 1 if aborted. */
long sequence(struct rseq_area *area, struct rseq_cs *cs, volatile u64 *left);
__asm__(".text\n"
	"sequence:\n"
	"	mov %rsi, 8(%rdi)\n"
	"start:\n"
	"	decq (%rdx)\n"
	"	jnz start\n"
	"commit:\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"	.byte 0x0f, 0xb9, 0x3d\n"
	"	.long 0x53053053\n"
	"aborted:\n"
	"	mov $1, %eax\n"
	"	ret\n");

static void on_alarm(int signo, siginfo_t *info, void *context)
{
	u64 *registers = (u64 *)((char *)context + 40);
	(void)signo, (void)info;
	handled++;
	in_sequence = registers[16] >= (u64)start && registers[16] < (u64)commit;
	if (registers[16] == (u64)aborted)
		in_sequence = 0;
}

static void arm(void)
{
	struct itimerval timer = { { 0, 0 }, { 0, 20000 } };

	MUST(setitimer, ITIMER_REAL, &timer, NULL);
}

static void usable(void)
{
	cs = (struct rseq_cs){ 0, 0, (u64)start, commit - start, (u64)aborted };
}

/* What happens to a sequence with this wrong. */
#define WRONG(what)                                                                               \
	do {                                                                                      \
		print(#what ": ");                                                                \
		long pid = MUST(fork);                                                            \
		if (!pid) {                                                                       \
			usable();                                                                 \
			what;                                                                     \
			arm();                                                                    \
			left = 1UL << 40;                                                         \
			leave(sequence(&area, &cs, &left));                                       \
		}                                                                                 \
		reap(pid);                                                                        \
	} while (0)

int main(void)
{
	handle(SIGALRM, on_alarm, SA_SIGINFO);
	MUST(rseq, &area, 32, 0, SIGNATURE);
	usable();
	left = 1000;
	SAY(sequence(&area, &cs, &left));
	arm();
	long result;
	do { /* preemption aborts it too */
		left = 1UL << 40;
		result = sequence(&area, &cs, &left);
	} while (!handled);
	SAY(result);
	SAY(in_sequence);
	SAY(area.rseq_cs);
	/* a signal outside clears the pointer and aborts nothing */
	area.rseq_cs = (u64)&cs;
	MUST(kill, SYS(getpid), SIGALRM);
	SAY(handled);
	SAY(area.rseq_cs);
	WRONG(cs.version = 1);
	WRONG(cs.flags = 1);
	WRONG(area.flags = 2);
	WRONG(cs.abort_ip = (u64)start);
	WRONG(cs.abort_ip = (u64)main);
	WRONG(cs.abort_ip = 1UL << 60);
	WRONG(cs.post_commit_offset = -1UL);
	WRONG(cs.start_ip = 1UL << 60);
	WRONG(area.rseq_cs = 0);
	return 0;
}
