/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transparent huge pages: memory that asks for them, and what /proc says of it. */
#ifndef THP_H
#define THP_H

#include <sys/ioctl.h>

#define WHOLE_LINES
#include "mappings.h"

#define HUGE 512UL
#define MIB2 (HUGE * PAGE)
#define MADV_COLLAPSE_ 25

static long thp_tables;

/* Fresh private memory of so many huge pages, beginning so many small pages behind such a border. */
UNUSED static char *hugely(u64 pages, u64 behind)
{
	char *p = at(area() + behind * PAGE, pages * HUGE, RW, PRIVATE, -1, 0);

	MUST(madvise, p, pages * MIB2, MADV_HUGEPAGE);
	thp_tables = status("VmPTE");
	return p;
}

/* One line of what there is of so many small pages: kinds of pages with how many of them follow each other. */
UNUSED static void pages_of(char *p, u64 pages)
{
	static u64 words[4 * HUGE];
	static u8 there[4 * HUGE];
	u64 last = 0, number = 0;

	MUST(mincore, p, pages * PAGE, there);
	mapped_range(p, pages, words);
	for (u64 i = 0; i <= pages; i++) {
		u64 now = i < pages ? words[i] << 1 | (there[i] & 1) : 0;

		if (number && (i == pages || now != last)) {
			print(" %ldx%lx%s", number, last >> 1, last & 1 ? "+" : "");
			number = 0;
		}
		last = now;
		number++;
	}
	print("\n");
}

/* Prints how much of the mapping at an address is huge, resident, and in tables. */
UNUSED static void state(const char *what, char *p, u64 pages)
{
	print("%s: AnonHugePages %ld Rss %ld Anonymous %ld THPeligible %ld tables %ld", what, figure(p, "AnonHugePages"),
	      figure(p, "Rss"), figure(p, "Anonymous"), figure(p, "THPeligible"), status("VmPTE") - thp_tables);
	pages_of(p, pages);
}

#endif
