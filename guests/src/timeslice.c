/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timeslice: two children take turns on a shared word, each spinning while it is
 * the other's turn, without a system call. On one CPU this ends only if the
 * kernel takes the CPU away from a process that spins.
 *
 * Prints:
 *   ok 20 turns
 */
#include "guest.h"

#define TURNS 20

struct shared {
	volatile u64 turn;
	volatile u64 taken_by[TURNS];
};

static void take_turns(struct shared *shared, u64 me)
{
	for (u64 turn = me; turn < TURNS; turn += 2) {
		while (shared->turn != turn)
			;
		shared->taken_by[turn] = me + 1;
		shared->turn = turn + 1;
	}
}

int main(int argc, char **argv, char **envp)
{
	struct shared *shared = anonymous(PAGE_SIZE, MAP_SHARED);
	long children[2];

	(void)argc, (void)argv, (void)envp;
	for (u64 me = 0; me < 2; me++) {
		children[me] = must(sys_fork(), "fork");
		if (children[me] == 0) {
			take_turns(shared, me);
			return 0;
		}
	}
	for (u64 i = 0; i < 2; i++)
		if (exited(wait_for(children[i])) != 0)
			return 1;
	for (u64 turn = 0; turn < TURNS; turn++)
		if (shared->taken_by[turn] != turn % 2 + 1) {
			print("turn %lu: WRONG\n", turn);
			return 1;
		}
	print("ok %lu turns\n", shared->turn);
	return 0;
}
