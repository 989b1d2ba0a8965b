/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unlink_while_mapped WAY: the name of the range goes while two processes have
 * it. They go on seeing what the other writes, also in pages that nobody has
 * touched before; nobody else finds the range any more.
 *
 * Prints:
 *   unlink_while_mapped: unlink: ok
 *   unlink_while_mapped: open: ENOENT
 *   unlink_while_mapped: the parent sees the child's new page: ok
 *   unlink_while_mapped: child: exit status 0
 */
#include "case.h"

static volatile u64 *step, *range;

static int other(void)
{
	range = (volatile u64 *)case_attach();
	range[0] += 1;
	*step = 1;
	wait_until(step, 2); /* the name is gone */
	range[PAGE_SIZE / 8] = 7;
	*step = 3;
	wait_until(step, 4);
	return range[0] != 99;
}

int main(int argc, char **argv, char **envp)
{
	long child;

	(void)envp;
	case_begin(argc, argv, 1);
	step = shared_word();
	range = (volatile u64 *)case_make(2 * PAGE_SIZE);
	range[0] = 1;
	child = must(sys_fork(), "fork");
	if (!child) {
		case_leave((char *)range);
		return other();
	}
	wait_until(step, 1);
	print("unlink_while_mapped: unlink: %s\n", result_name(case_remove()));
	print("unlink_while_mapped: open: %s\n", result_name(case_open()));
	*step = 2;
	wait_until(step, 3);
	check("unlink_while_mapped: the parent sees the child's new page", range[PAGE_SIZE / 8] == 7 && range[0] == 2);
	range[0] = 99;
	*step = 4;
	print_end("unlink_while_mapped: child", wait_for(child));
	return guest_wrong != 0;
}
