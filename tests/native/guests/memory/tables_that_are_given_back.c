/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MADV_DONTNEED over all that a PTE table maps gives the table back too. */
// since: 6.14
// needs: proc
#include "mappings.h"

#define MIB (1UL << 20)

int main(void)
{
	char *p = fresh(1024), *q;
	long before = status("VmPTE");

	touch(p, 1024);
	print("filled: %ld kB more\n", status("VmPTE") - before);
	before = status("VmPTE");
	MUST(madvise, p, MIB, MADV_DONTNEED);
	print("half of a table: %ld kB\n", before - status("VmPTE"));
	MUST(madvise, p + MIB, MIB, MADV_DONTNEED);
	print("the other half: %ld kB\n", before - status("VmPTE"));
	MUST(madvise, p, 2 * MIB, MADV_DONTNEED);
	print("all of it: %ld kB\n", before - status("VmPTE"));
	MUST(madvise, p, 2 * MIB, MADV_DONTNEED);
	print("and again: %ld kB\n", before - status("VmPTE"));
	MUST(madvise, p + MIB, 3 * MIB, MADV_DONTNEED);
	print("both: %ld kB\n", before - status("VmPTE"));
	touch(p, 1024);
	print("filled again: %ld kB\n", before - status("VmPTE"));
	q = at(area() + MIB, 512, RW, PRIVATE, -1, 0);
	touch(q, 512);
	before = status("VmPTE");
	MUST(madvise, q, 2 * MIB, MADV_DONTNEED);
	print("halves of two tables: %ld kB\n", before - status("VmPTE"));
	MUST(madvise, p, 2 * MIB, MADV_FREE);
	print("MADV_FREE: %ld kB\n", before - status("VmPTE"));
	MUST(mprotect, p, MIB, PROT_READ);
	MUST(madvise, p, 2 * MIB, MADV_DONTNEED);
	print("two mappings of one table: %ld kB\n", before - status("VmPTE"));
	q = at(area(), 512, RW, SHARED, -1, 0);
	touch(q, 512);
	before = status("VmPTE");
	MUST(madvise, q, 2 * MIB, MADV_DONTNEED);
	print("shared memory: %ld kB\n", before - status("VmPTE"));
	touch(q, 512);
	before = status("VmPTE");
	MUST(madvise, q, 2 * MIB, MADV_REMOVE);
	print("MADV_REMOVE: %ld kB\n", before - status("VmPTE"));
	return 0;
}
