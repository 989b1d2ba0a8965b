/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * region_stress N ROUNDS [SIZE]: N processes write one mshare region by turns,
 * ROUNDS turns each. The object has SIZE bytes (2M if not given), the first page
 * of which says whose turn it is. Each process opens and maps the region for
 * itself. In its turn it first checks that every word is what the turn before
 * wrote, then writes every word anew; in the end the parent checks the last turn.
 *
 * Prints, with T = N * ROUNDS and W = SIZE / 8 - 512:
 *   ok N processes, T turns, W words
 * A wrong word is reported on standard error, and the exit status is 1.
 */
#include "mshare.h"

#define REGION MSHARE_ROOT "region_stress"

struct region {
	volatile u64 turn; /* turns that have been finished */
	volatile u64 failed;
	u64 unused[PAGE_SIZE / sizeof(u64) - 2];
	volatile u64 words[];
};

/* What the `turn`-th turn, counted from 1, leaves in a word; before the first all are zero. */
static u64 pattern(u64 turn, u64 word)
{
	return turn ? turn * 0x9e3779b97f4a7c15UL ^ word * 0xd1342543de82ef95UL : 0;
}

/* Checks all words; reports the first wrong one. */
static int is_right(struct region *region, u64 turn, u64 words, const char *who)
{
	for (u64 i = 0; i < words; i++) {
		u64 value = region->words[i];

		if (value != pattern(turn, i)) {
			complain("%s, after turn %lu: word %lu is 0x%lx, should be 0x%lx\n", who, turn, i,
				 value, pattern(turn, i));
			return 0;
		}
	}
	return 1;
}

static struct region *attach(void)
{
	int fd = must(sys_open(REGION, O_RDWR, 0), "open " REGION);
	struct region *region = mshare_window(fd, 0);

	sys_close(fd);
	return region;
}

/* One of the N processes. */
static int take_turns(u64 me, u64 processes, u64 rounds, u64 words)
{
	struct region *region = attach();

	for (u64 turn = me; turn < processes * rounds; turn += processes) {
		while (region->turn != turn && !region->failed)
			sys_sched_yield();
		if (region->failed)
			return 1;
		if (!is_right(region, turn, words, "child")) {
			region->failed = 1;
			return 1;
		}
		for (u64 i = 0; i < words; i++)
			region->words[i] = pattern(turn + 1, i);
		region->turn = turn + 1;
	}
	return 0;
}

int main(int argc, char **argv, char **envp)
{
	u64 processes, rounds, size, words, failed = 0;
	struct region *region;

	(void)envp;
	if (argc < 3 || argc > 4)
		usage("region_stress N ROUNDS [SIZE[K|M|G]]");
	processes = atou64(argv[1]);
	rounds = atou64(argv[2]);
	size = argc == 4 ? atou64(argv[3]) : 2UL << 20;
	if (!processes || !rounds || size <= PAGE_SIZE || size % PAGE_SIZE)
		usage("region_stress: N and ROUNDS from 1, SIZE from two pages, in whole pages");
	words = (size - PAGE_SIZE) / sizeof(u64);

	sys_close(mshare_region(REGION, size, -1));
	for (u64 me = 0; me < processes; me++)
		if (must(sys_fork(), "fork") == 0)
			return take_turns(me, processes, rounds, words);

	region = attach();
	for (u64 i = 0; i < processes; i++)
		if (exited(wait_for(-1)) != 0)
			failed = region->failed = 1; /* so that the others do not wait for it */
	if (!failed)
		failed = region->turn != processes * rounds ||
			 !is_right(region, region->turn, words, "parent");
	must(sys_unlink(REGION), "unlink " REGION);
	if (failed)
		return 1;
	print("ok %lu processes, %lu turns, %lu words\n", processes, region->turn, words);
	return 0;
}
