/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * several_windows WAY: one process has the same range at three addresses, and
 * what it writes through one it reads through the others. Two are unmapped; the
 * third stays.
 *
 * Prints:
 *   several_windows: written through the first: ok
 *   several_windows: written through the third: ok
 *   several_windows: the last one stays: ok
 */
#include "case.h"

static volatile u64 *another(u64 address)
{
	int fd = must(case_open(), "open the range");
	long at = must(sys_mmap(address, case_size(), RW, MAP_SHARED | MAP_FIXED, fd, 0), "mmap the range again");

	sys_close(fd);
	return (volatile u64 *)at;
}

int main(int argc, char **argv, char **envp)
{
	volatile u64 *first, *second, *third;
	u64 next = PAGE_SIZE / 8;

	(void)envp;
	case_begin(argc, argv, 1);
	first = (volatile u64 *)case_make(2 * PAGE_SIZE);
	second = another(2 * MSHARE_WINDOW);
	third = another(4 * MSHARE_WINDOW);
	first[0] = 5;
	check("several_windows: written through the first", second[0] == 5 && third[0] == 5);
	third[next] = 6;
	check("several_windows: written through the third", first[next] == 6 && second[next] == 6);
	case_leave((char *)first);
	case_leave((char *)second);
	third[0]++;
	check("several_windows: the last one stays", third[0] == 6 && third[next] == 6);
	case_remove();
	return guest_wrong != 0;
}
