/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * concurrent_populate WAY: four processes fill one range at the same time, each
 * every fourth page, so that page tables grow under all of them at once. Then
 * each checks every page of the others.
 *
 * Prints:
 *   concurrent_populate: 4 processes filled 256 pages, all right
 */
#include "case.h"

enum { PROCESSES = 4, PAGES = 256 };

static volatile u64 *turn;
static char *range;

static volatile u64 *word(u64 page)
{
	return (volatile u64 *)(range + page * PAGE_SIZE);
}

static int fill_and_check(u64 me)
{
	for (u64 page = me; page < PAGES; page += PROCESSES) {
		*word(page) = page * PROCESSES + me + 1;
		sys_sched_yield();
	}
	__atomic_fetch_add(turn, 1, __ATOMIC_SEQ_CST);
	wait_until(turn, PROCESSES);
	for (u64 page = 0; page < PAGES; page++)
		if (*word(page) != page * PROCESSES + page % PROCESSES + 1)
			return 1;
	return 0;
}

int main(int argc, char **argv, char **envp)
{
	int wrong = 0;

	(void)envp;
	case_begin(argc, argv, 0);
	turn = shared_word();
	range = case_make(PAGES * PAGE_SIZE);
	for (u64 me = 1; me < PROCESSES; me++)
		if (must(sys_fork(), "fork") == 0)
			return fill_and_check(me);
	wrong = fill_and_check(0);
	for (u64 me = 1; me < PROCESSES; me++)
		wrong |= exited(wait_for(-1)) != 0;
	case_remove();
	print("concurrent_populate: %d processes filled %d pages, %s\n", PROCESSES, PAGES, wrong ? "WRONG" : "all right");
	return wrong;
}
