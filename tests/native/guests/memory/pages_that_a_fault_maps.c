/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A read of a file's page maps those around it: 16 entries that begin at an aligned one, or at the start of the mapping
 * if that is nearer, and end with the mapping; also before a SIGBUS (do_fault_around).
 */
// since: 6.4
// needs: proc
#include "mappings.h"

static void count(const char *what, char *p, u64 pages)
{
	u64 present = 0, first = 0;

	for (u64 i = 0; i < pages; i++)
		if (mapped(p + i * PAGE) & 0x100) {
			first = present ? first : i;
			present++;
		}
	print("%s: %ld pages from %ld on\n", what, present, first);
}

static void read_in_order(char *p, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		look(p + i * PAGE);
}

int main(void)
{
	int fd = file_of(64), small = file_of(3), holes = MUST(memfd_create, "holes", 0);
	char *p = at(area() + 5 * PAGE, 61, RW, MAP_SHARED, fd, 3);

	look(p + PAGE);
	count("near the start", p, 61);
	p = at(area() + 5 * PAGE, 64, PROT_READ, MAP_PRIVATE, fd, 0);
	FAULTS(read_in_order(p, 64));
	p = at(area() + 5 * PAGE, 64, RW, MAP_PRIVATE, fd, 0);
	look(p + 30 * PAGE);
	count("in the middle", p, 64);
	p = at(area() + 500 * PAGE, 64, RW, MAP_SHARED, fd, 0);
	look(p);
	count("at the end of a table", p, 64);
	p = at(area() + 5 * PAGE, 7, RW, MAP_SHARED, fd, 0);
	look(p + 6 * PAGE);
	count("a short mapping", p, 7);
	print("referenced: %ld kB\n", figure(p, "Referenced"));
	p = at(area(), 64, RW, MAP_SHARED, fd, 0);
	touch(p + 20 * PAGE, 1);
	count("a write", p, 64);
	p = at(area(), 64, RW, MAP_PRIVATE, fd, 0);
	touch(p + 20 * PAGE, 1);
	count("a private write", p, 64);
	p = at(area(), 4, RW, MAP_SHARED, small, 0);
	long child = MUST(fork);
	if (!child)
		look(p + 3 * PAGE);
	reap(child);
	p = at(area(), 32, RW, MAP_SHARED, holes, 0);
	MUST(ftruncate, holes, 32 * PAGE);
	touch(p + 3 * PAGE, 2);
	p = at(area(), 32, RW, MAP_SHARED, holes, 0);
	look(p + 8 * PAGE);
	count("around a hole of the file", p, 32);
	p = at(area() + 5 * PAGE, 64, PROT_READ, MAP_PRIVATE, fd, 0);
	FAULTS(SYS(madvise, p, 64 * PAGE, MADV_POPULATE_READ));
	p = at(area() + 5 * PAGE, 64, PROT_READ, MAP_SHARED, fd, 0);
	FAULTS(SYS(madvise, p + 3 * PAGE, 40 * PAGE, MADV_POPULATE_READ));
	count("populated", p, 64);
	return 0;
}
