/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * touch_pages SIZE: maps SIZE bytes of private anonymous memory and writes one
 * byte of each page: one page fault a page, and memory until there is no more.
 *
 * Prints nothing, exit status 0. Where mmap fails, "mmap: ENOMEM" (or what the
 * error was), exit status 1.
 */
#include "guest.h"

int main(int argc, char **argv, char **envp)
{
	u64 size;
	long address;

	(void)envp;
	if (argc != 2)
		usage("touch_pages SIZE[K|M|G]");
	size = atou64(argv[1]);
	address = sys_mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (is_error(address)) {
		print("mmap: %s\n", result_name(address));
		return 1;
	}
	for (u64 offset = 0; offset < size; offset += PAGE_SIZE)
		*(volatile u8 *)(address + offset) = 1;
	return 0;
}
