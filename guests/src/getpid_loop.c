/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * getpid_loop N: calls getpid(2) N times, to see what a system call costs.
 *
 * Prints nothing, exit status 0; 1 if the answer was not always the same.
 */
#include "guest.h"

int main(int argc, char **argv, char **envp)
{
	long pid = sys_getpid();
	int changed = 0;

	(void)envp;
	if (argc != 2)
		usage("getpid_loop N");
	for (u64 left = atou64(argv[1]); left; left--)
		changed |= sys_getpid() != pid;
	return changed;
}
