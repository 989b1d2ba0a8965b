/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * owner_death WAY: a child makes the range and dies; its parent, which has
 * attached meanwhile, touches it again.
 *
 * Prints, and then one of the others, as the interface wants it:
 *   owner_death: attached while it lived: ok
 *   owner_death: the range is still there
 *   owner_death: SIGSEGV
 */
#include "case.h"

static volatile u64 *step;

static int owner(void)
{
	*(volatile u64 *)case_make(PAGE_SIZE) = 42;
	*step = 1;
	wait_until(step, 2);
	return 0;
}

static void gone(int signo)
{
	print("owner_death: %s\n", signal_name(signo));
	case_remove();
	sys_exit_group(0);
}

int main(int argc, char **argv, char **envp)
{
	volatile u64 *range;
	long child;

	(void)envp;
	case_begin(argc, argv, 1);
	step = shared_word();
	child = child_that(owner);
	wait_until(step, 1);
	range = (volatile u64 *)case_attach();
	check("owner_death: attached while it lived", *range == 42);
	*step = 2;
	wait_for(child);
	on_signal(SIGSEGV, gone, 0, 0);
	if (*range != 42)
		return 1;
	print("owner_death: the range is still there\n");
	case_remove();
	return guest_wrong != 0;
}
