/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * regions [WAY]: touches pages within and outside of a region of interest, which is the function compute(), or what is
 * between marks. The pages that are touched within are at 0x10000000, the others at 0x20000000.
 *
 *	calls     compute() is called three times, two pages each (the default)
 *	nested    compute() calls itself
 *	marks     between marks, nested ones too, with texts
 *	threads   two threads, of which one calls compute()
 *	fork      compute() forks: the child touches pages in it and returns from it
 *	exec      compute() runs this program anew, which touches pages outside
 *	stays     compute() ends the program
 *	jumps     compute() is left by a jump, and called again
 *	never     nothing of this
 *
 * Prints how many pages were touched within and outside. The symbols are left in this program.
 */
#include "thread.h"
#include "unimmu.h"

#define INSIDE ((volatile char *)0x10000000)
#define OUTSIDE ((volatile char *)0x20000000)
#define PAGES 64

static u64 inside, outside;
static void *jump_to[5];

__attribute__((noinline)) void touch_inside(void)
{
	INSIDE[PAGE_SIZE * inside++] = 1;
}

__attribute__((noinline)) void touch_outside(void)
{
	OUTSIDE[PAGE_SIZE * outside++] = 1;
}

__attribute__((noinline)) void compute(u64 pages, u64 deeper)
{
	for (u64 i = 0; i < pages; i++)
		touch_inside();
	if (deeper)
		compute(pages, deeper - 1);
	__asm__ volatile("" : : : "memory"); /* not a tail call */
}

__attribute__((noinline)) void compute_and(void (*then)(void))
{
	touch_inside();
	then();
	touch_inside();
	__asm__ volatile("" : : : "memory");
}

static void fork_here(void)
{
	int status;
	long pid = must(sys_fork(), "fork");

	if (pid)
		must(sys_wait4(pid, &status, 0), "wait4");
}

static void exec_here(void)
{
	char *argv[] = {"regions", "never", 0}, *envp[] = {0};

	must(sys_execve("/proc/self/exe", argv, envp), "execve");
}

static void exit_here(void)
{
	touch_inside();
	sys_exit_group(0);
}

static void jump_here(void)
{
	__builtin_longjmp(jump_to, 1);
}

static volatile int turn;

/* Threads that take turns: one calls compute() while the other touches pages outside. */
static int thread(u64 number)
{
	for (int i = 0; i < 4; i++) {
		while (turn % 2 != (int)number)
			sys_sched_yield();
		if (number)
			compute(1, 0);
		else
			touch_outside();
		turn++;
	}
	return 0;
}

static void marks(void)
{
	touch_outside();
	UNIMMU_END(); /* of nothing */
	UNIMMU_BEGIN();
	touch_inside();
	UNIMMU_BEGIN();
	UNIMMU_MARK("nested");
	touch_inside();
	UNIMMU_END();
	touch_inside();
	UNIMMU_END();
	UNIMMU_MARK("unseen");
	touch_outside();
	UNIMMU_BEGIN();
	UNIMMU_MARK("again");
	touch_inside();
	UNIMMU_END();
	touch_outside();
}

static void threads(void)
{
	volatile int tids[2];

	for (u64 i = 0; i < 2; i++)
		must(start_thread(thread, i, &tids[i], 0, 0), "clone");
	for (int i = 0; i < 2; i++)
		join_thread(&tids[i]);
}

static void calls(void)
{
	for (int i = 0; i < 3; i++) {
		touch_outside();
		compute(2, 0);
	}
}

int main(int argc, char **argv, char **envp)
{
	const char *way = argc > 1 ? argv[1] : "calls";
	long me = sys_getpid();

	(void)envp;
	must(sys_mmap((u64)INSIDE, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap");
	must(sys_mmap((u64)OUTSIDE, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), "mmap");
	touch_outside();
	if (!strcmp(way, "calls"))
		calls();
	else if (!strcmp(way, "nested"))
		compute(2, 2);
	else if (!strcmp(way, "marks"))
		marks();
	else if (!strcmp(way, "threads"))
		threads();
	else if (!strcmp(way, "fork"))
		compute_and(fork_here);
	else if (!strcmp(way, "exec"))
		compute_and(exec_here);
	else if (!strcmp(way, "stays"))
		compute_and(exit_here);
	else if (!strcmp(way, "jumps")) {
		if (!__builtin_setjmp(jump_to))
			compute_and(jump_here);
		compute_and(touch_inside);
	} else if (strcmp(way, "never"))
		usage("regions [calls|nested|marks|threads|fork|exec|stays|jumps|never]\n");
	touch_outside();
	print("%s: %lu pages within, %lu outside\n", sys_getpid() == me ? "regions" : "child", inside, outside);
	return 0;
}
