/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the worked examples of the generations before August 2025 share: a donor
 * writes a text into a region and ends; a consumer, run after it, finds out
 * where the region is, maps it, reads the text and removes the region.
 */
#ifndef MSHARE_EXAMPLE_H
#define MSHARE_EXAMPLE_H

#include "mshare.h"

#define NAME "testregion"
#define REGION MSHARE_ROOT NAME
#define TEXT "Some random shared text"

/* As the postings: from four times the unit on, twice the unit. */
#define EXAMPLE_START(unit) (4 * (unit))
#define EXAMPLE_SIZE(unit) (2 * (unit))

/* Maps the region at its own address, which every process must use. */
static inline char *map_region(int fd, u64 start, u64 size)
{
	u64 at = must(sys_mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap " REGION);

	if (at != start)
		die("mmap did not take the address", EINVAL);
	return (char *)at;
}

static inline void remove_region(void)
{
	print("consumer: unlink: %s\n", result_name(sys_unlink(REGION)));
	print("consumer: open after unlink: %s\n", result_name(sys_open(REGION, O_RDWR, 0)));
}

#endif
