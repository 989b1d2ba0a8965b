/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sharers MODE NPROC SIZE [read|write]: NPROC processes touch every page of one
 * object of SIZE bytes and then all sleep, so that an observer can count faults,
 * page tables and memory at the peak. One SIGUSR1 to the first process ends all.
 *
 * MODE plain        MAP_SHARED anonymous memory, tables of its own for each
 *      mshare       the same as an object in an mshare region, inherited by fork
 *      mshare-file  a file as an object in an mshare region
 * In each mode the object begins at 2 TiB. The parent writes a word a page. Each
 * child reads all of these and checks their sum ("read", the default), or also
 * writes a word of its own into each page ("write"), which the parent checks.
 *
 * A process that has done its work calls pause(2): the parent after all children
 * have reported through a page that they share. SIGUSR1 is blocked until then,
 * and its handler ends the process; so a signal that comes early is not lost and
 * cuts no work short.
 *
 * Prints, when it is ended:
 *   sharers: NPROC processes, PAGES pages, sum ok
 * or "... sum WRONG" with exit status 3.
 */
#include "mshare.h"

#define REGION MSHARE_ROOT "sharers"
#define ODD 0x9e3779b97f4a7c15UL /* page number times this: a different word in each page */
#define MAX_PROCESSES 512 /* as many as there are words in a page */

struct object {
	volatile u64 word[PAGE_SIZE / sizeof(u64)]; /* word 0 is the parent's, word k of child k */
};

static struct object *pages;
static u64 nr_pages, nr_processes;
static int writing, have_region;
static long children[MAX_PROCESSES]; /* [0] is not used */
static volatile u64 *nr_done; /* children that have done their work */
static int exit_status; /* of this process, when SIGUSR1 comes */

static u64 value(u64 page, u64 process)
{
	return page * ODD + process;
}

/* ---- the object ---- */

static struct object *map_plain(u64 size)
{
	return (struct object *)must(sys_mmap(MSHARE_WINDOW, size, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
					      -1, 0), "mmap");
}

static struct object *map_mshare(u64 size, int file)
{
	int fd = mshare_region(REGION, size, file);
	struct object *window = mshare_window(fd, MSHARE_WINDOW);

	sys_close(fd); /* the window holds the region; the name stays until the end */
	have_region = 1;
	return window;
}

static struct object *map_object(const char *mode, u64 size)
{
	int file;

	if (!strcmp(mode, "plain"))
		return map_plain(size);
	if (!strcmp(mode, "mshare"))
		return map_mshare(size, -1);
	if (strcmp(mode, "mshare-file"))
		usage("sharers plain|mshare|mshare-file NPROC SIZE [read|write]");
	file = scratch_file();
	must(sys_ftruncate(file, size), "ftruncate the scratch file");
	return map_mshare(size, file);
}

/* ---- the work ---- */

static void write_words(u64 process)
{
	for (u64 page = 0; page < nr_pages; page++)
		pages[page].word[process] = value(page, process);
}

/* Is the sum of one process's words over all pages what it must be? */
static int sum_is_right(u64 process)
{
	u64 sum = 0, expected = 0;

	for (u64 page = 0; page < nr_pages; page++) {
		sum += pages[page].word[process];
		expected += value(page, process);
	}
	return sum == expected;
}

/* ---- the end ---- */

static void end_child(void)
{
	sys_exit_group(exit_status);
}

static void end_parent(void)
{
	for (u64 i = 1; i < nr_processes; i++)
		must(sys_kill(children[i], SIGUSR1), "kill");
	for (u64 i = 1; i < nr_processes; i++)
		if (exited(wait_for(children[i])) != 0 || (writing && !sum_is_right(i)))
			exit_status = 3;
	if (have_region)
		must(sys_unlink(REGION), "unlink " REGION);
	print("sharers: %lu processes, %lu pages, sum %s\n", nr_processes, nr_pages,
	      exit_status ? "WRONG" : "ok");
	sys_exit_group(exit_status);
}

__attribute__((noreturn)) static void sleep_until_ended(void)
{
	u64 mask = SIGNAL_BIT(SIGUSR1);

	must(sys_rt_sigprocmask(SIG_UNBLOCK, &mask, NULL), "rt_sigprocmask");
	for (;;)
		sys_pause();
}

static void child(u64 me)
{
	on_signal(SIGUSR1, end_child, 0, 0);
	exit_status = sum_is_right(0) ? 0 : 3;
	if (writing) {
		write_words(me);
		if (!sum_is_right(me))
			exit_status = 3;
	}
	__atomic_fetch_add(nr_done, 1, __ATOMIC_SEQ_CST);
	sleep_until_ended();
}

int main(int argc, char **argv, char **envp)
{
	u64 mask = SIGNAL_BIT(SIGUSR1);

	(void)envp;
	if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "read") && strcmp(argv[4], "write")))
		usage("sharers plain|mshare|mshare-file NPROC SIZE [read|write]");
	nr_processes = atou64(argv[2]);
	nr_pages = round_up(atou64(argv[3]), PAGE_SIZE) / PAGE_SIZE;
	writing = argc == 5 && !strcmp(argv[4], "write");
	if (!nr_processes || nr_processes > MAX_PROCESSES || !nr_pages)
		usage("sharers: NPROC from 1 to 512, SIZE from 1");

	must(sys_rt_sigprocmask(SIG_BLOCK, &mask, NULL), "rt_sigprocmask");
	on_signal(SIGUSR1, end_parent, 0, 0);
	nr_done = anonymous(PAGE_SIZE, MAP_SHARED);
	pages = map_object(argv[1], nr_pages * PAGE_SIZE);
	write_words(0);

	for (u64 me = 1; me < nr_processes; me++) {
		children[me] = must(sys_fork(), "fork");
		if (children[me] == 0)
			child(me);
	}
	while (*nr_done < nr_processes - 1)
		sys_sched_yield();
	sleep_until_ended();
}
