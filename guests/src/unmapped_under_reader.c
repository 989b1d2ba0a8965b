/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unmapped_under_reader WAY: what is in the region is unmapped while another
 * process reads it in a loop, without a system call between. WAY is file or
 * ioctl, the interfaces that can unmap.
 *
 * Prints:
 *   unmapped_under_reader: unmap: ok
 *   unmapped_under_reader: reader: killed by SIGSEGV
 */
#include "case.h"

static volatile u64 *step, *range;

static int reader(void)
{
	if (*range != 3)
		return 1;
	*step = 1;
	while (*range == 3)
		;
	return 2; /* it must never see anything else */
}

static long unmap_page(void)
{
	struct mshare_unmap at_offset = { 0, PAGE_SIZE }, at_address = { MSHARE_WINDOW, PAGE_SIZE };
	int fd = must(case_open(), "open the region");

	return by("file") ? sys_ioctl(fd, MSHAREFS_UNMAP, &at_offset) : sys_ioctl(fd, MSHAREFS_UNMAP_AT, &at_address);
}

int main(int argc, char **argv, char **envp)
{
	long child;

	(void)envp;
	case_begin(argc, argv, 1);
	step = shared_word();
	range = (volatile u64 *)case_make(PAGE_SIZE);
	*range = 3;
	child = child_that(reader);
	wait_until(step, 1);
	print("unmapped_under_reader: unmap: %s\n", result_name(unmap_page()));
	print_end("unmapped_under_reader: reader", wait_for(child));
	case_remove();
	return 0;
}
