/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec_in_the_middle WAY: a process that has the range becomes another program
 * by execve. Its mapping is gone then, the range is not: it attaches again and
 * finds what it wrote, and so does its parent, who has had it all the time.
 *
 * Prints:
 *   exec_in_the_middle: after execve nothing is mapped there: ok
 *   exec_in_the_middle: after execve the range says 11: ok
 *   exec_in_the_middle: child: exit status 0
 *   exec_in_the_middle: the parent sees 12: ok
 */
#include "case.h"

static int second_half(void)
{
	volatile u64 *range;

	/* without MAP_FIXED a free hint is taken, an occupied one is not */
	check("exec_in_the_middle: after execve nothing is mapped there",
	      sys_mmap(MSHARE_WINDOW, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MSHARE_WINDOW);
	must(sys_munmap(MSHARE_WINDOW, PAGE_SIZE), "munmap");
	range = (volatile u64 *)case_attach();
	check("exec_in_the_middle: after execve the range says 11", *range == 11);
	*range = 12;
	return guest_wrong != 0;
}

int main(int argc, char **argv, char **envp)
{
	volatile u64 *range;
	char *again[] = { argv[0], argv[1], "again", NULL };
	long child;

	case_begin(argc, argv, 1);
	if (argc == 3)
		return second_half();
	range = (volatile u64 *)case_make(PAGE_SIZE);
	*range = 10;
	child = must(sys_fork(), "fork");
	if (!child) {
		*range = 11;
		die("execve", -sys_execve("/proc/self/exe", again, envp));
	}
	print_end("exec_in_the_middle: child", wait_for(child));
	check("exec_in_the_middle: the parent sees 12", *range == 12);
	case_remove();
	return guest_wrong != 0;
}
