/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fork_shared: a MAP_SHARED page stays shared over fork. The child writes 42,
 * the parent waits and reads it.
 *
 * Prints:
 *   42
 */
#include "guest.h"

int main(int argc, char **argv, char **envp)
{
	volatile int *shared = anonymous(PAGE_SIZE, MAP_SHARED);
	long child = must(sys_fork(), "fork");

	(void)argc, (void)argv, (void)envp;
	if (child == 0) {
		*shared = 42;
		return 0;
	}
	wait_for(child);
	print("%d\n", *shared);
	return 0;
}
