/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spin [N]: a loop of two instructions and nothing else. Without N it never
 * ends (to try time limits); with N it turns N times and exits with 0.
 *
 * Prints nothing.
 */
#include "guest.h"

int main(int argc, char **argv, char **envp)
{
	u64 turns;

	(void)envp;
	if (argc > 2)
		usage("spin [N]");
	if (argc == 1)
		__asm__ volatile("1: jmp 1b");
	turns = atou64(argv[1]);
	if (turns)
		__asm__ volatile("1: dec %0\n jnz 1b" : "+r"(turns) : : "cc");
	return 0;
}
