/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table goes with the last mapping of what it covers, not with its last entry; a fault that ends in a signal makes none. */
// since: 5.18
// needs: proc
#include "mappings.h"

static long before;

static void tables(const char *what)
{
	print("%s: %ld kB\n", what, status("VmPTE") - before);
}

int main(void)
{
	int fd = file_of(1);
	char *p = area() + 500 * PAGE, *q = area() + 500 * PAGE;

	before = status("VmPTE");
	at(p, 8, RW, PRIVATE, -1, 0);
	tables("mapped");
	touch(p, 4);
	tables("touched");
	MUST(munmap, p, 4 * PAGE);
	tables("what was touched is gone");
	MUST(munmap, p + 4 * PAGE, 4 * PAGE);
	tables("all is gone");
	at(p, 24, RW, PRIVATE, -1, 0);
	touch(p, 24);
	tables("over the end of a table");
	MUST(munmap, p, 12 * PAGE);
	tables("the lower table's part is gone");
	MUST(munmap, p + 12 * PAGE, 12 * PAGE);
	tables("and the upper one's");

	at(p, 4, RW, PRIVATE, -1, 0);
	touch(p, 1);
	MUST(mremap, p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	tables("moved");
	MUST(mremap, q, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | 4, p);
	tables("moved away, and kept");
	MUST(munmap, q, 4 * PAGE);
	MUST(munmap, p, 4 * PAGE);
	tables("all is gone");
	p = at(area(), 512, RW, PRIVATE, -1, 0);
	q = area();
	touch(p, 512);
	tables("a whole table");
	SAY(MUST(mremap, p, 512 * PAGE, 512 * PAGE, MREMAP_MAYMOVE | 4, q) == (long)q);
	tables("moved, and its place kept");
	MUST(munmap, q, 512 * PAGE);
	MUST(munmap, p, 512 * PAGE);
	tables("all is gone");

	p = at(area(), 4, RW, MAP_SHARED, fd, 0);
	long child = MUST(fork);
	if (!child) {
		struct iovec to = { p + 2 * PAGE, 1 }, from = { &child, 1 };

		before = status("VmPTE");
		SHOW(read, fd, p + 2 * PAGE, 1);
		SHOW(process_vm_readv, SYS(getpid), &from, 1, &to, 1, 0);
		tables("behind the end of a file");
		leave(0);
	}
	reap(child);
	MUST(munmap, p, 4 * PAGE);
	p = at(area(), 4, RW, PRIVATE, -1, 0);
	touch(p, 4);
	at(p + 8 * PAGE, 1, RW, PRIVATE, -1, 0);
	touch(p + 8 * PAGE, 1);
	MUST(madvise, p, 4 * PAGE, MADV_DONTNEED);
	MUST(madvise, p + 8 * PAGE, PAGE, MADV_DONTNEED);
	before = status("VmPTE");
	child = MUST(fork);
	if (!child) {
		tables("the child's, of an empty table");
		leave(0);
	}
	reap(child);
	return 0;
}
