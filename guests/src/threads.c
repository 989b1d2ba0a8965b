/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * threads [THREADS [TURNS]]: threads made by clone(2) count together, each with
 * its own FS base, and write to pages that others unmap and protect meanwhile.
 *
 * Prints, for 4 threads and 1000 turns:
 *   threads: 4 made
 *   threads: a counter with LOCK = 4000
 *   threads: FS base of each: ok
 *   threads: one pid: ok
 *   threads: tids of their own: ok
 *   threads: pages of each: ok
 */
#include "thread.h"

#define MAX_THREADS 32

static struct thread {
	u64 self; /* what %fs:0 reads */
	volatile int tid;
	int number, own_tid, pid, fs_wrong, pages_wrong;
} threads[MAX_THREADS];

static volatile u64 counter;
static u64 turns = 1000;

static u64 fs_word(void)
{
	u64 word;

	__asm__ volatile("mov %%fs:0, %0" : "=r"(word));
	return word;
}

/* A page that comes and goes while the other threads run. */
static int page_wrong(u64 value)
{
	volatile u64 *page = anonymous(2 * PAGE_SIZE, MAP_PRIVATE);
	int wrong = page[0] != 0;

	page[0] = value;
	must(sys_mprotect((u64)page, PAGE_SIZE, PROT_READ), "mprotect");
	wrong |= page[0] != value;
	must(sys_mprotect((u64)page, PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	page[0] = value + 1;
	wrong |= page[0] != value + 1;
	must(sys_munmap((u64)page, 2 * PAGE_SIZE), "munmap");
	return wrong;
}

static int work(u64 argument)
{
	struct thread *me = (struct thread *)argument;

	for (u64 i = 0; i < turns; i++) {
		__asm__ volatile("lock incq %0" : "+m"(counter));
		me->fs_wrong += fs_word() != (u64)me;
		if (i % 64 == 0)
			me->pages_wrong += page_wrong(i + me->number * 1000000UL);
	}
	me->pid = sys_getpid();
	me->own_tid = syscall3(186, 0, 0, 0); /* gettid */
	return 0;
}

int main(int argc, char **argv, char **envp)
{
	u64 number = argc > 1 ? atou64(argv[1]) : 4;
	int fs_wrong = 0, pid_wrong = 0, tid_wrong = 0, pages_wrong = 0;

	(void)envp;
	if (argc > 2)
		turns = atou64(argv[2]);
	if (number > MAX_THREADS)
		usage("threads [THREADS [TURNS]], of at most 32 threads");
	for (u64 i = 0; i < number; i++) {
		threads[i].self = (u64)&threads[i];
		threads[i].number = i;
		must(start_thread(work, (u64)&threads[i], &threads[i].tid, CLONE_SETTLS, (u64)&threads[i]), "clone");
	}
	print("threads: %lu made\n", number);
	for (u64 i = 0; i < number; i++)
		join_thread(&threads[i].tid);
	for (u64 i = 0; i < number; i++) {
		fs_wrong += threads[i].fs_wrong;
		pages_wrong += threads[i].pages_wrong;
		pid_wrong += threads[i].pid != sys_getpid();
		for (u64 j = 0; j < number; j++)
			tid_wrong += threads[i].own_tid == threads[i].pid || (i != j && threads[i].own_tid == threads[j].own_tid);
	}
	print("threads: a counter with LOCK = %lu\n", counter);
	check("threads: FS base of each", !fs_wrong);
	check("threads: one pid", !pid_wrong);
	check("threads: tids of their own", !tid_wrong);
	check("threads: pages of each", !pages_wrong);
	return guest_wrong != 0;
}
