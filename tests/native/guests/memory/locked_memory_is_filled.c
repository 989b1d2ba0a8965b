/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When locked memory is faulted in besides by mlock(2): once it becomes writable, and where it grows, but not by a move. */
// since: 6.17
// needs: proc
#include "mappings.h"

int main(void)
{
	char *p = at(area(), 2, PROT_NONE, PRIVATE | MAP_LOCKED, -1, 0), *q = area();

	show_pages("locked without rights", p, 2);
	FAULTS(MUST(mprotect, p, PAGE, PROT_READ));
	show_pages("readable", p, 2);
	FAULTS(MUST(mprotect, p, 2 * PAGE, RW));
	show_pages("writable", p, 2);
	p = at(area(), 2, PROT_READ, PRIVATE | MAP_LOCKED, -1, 0);
	show_pages("locked for reading", p, 2);
	FAULTS(MUST(mprotect, p, 2 * PAGE, RW));
	show_pages("writable", p, 2);
	p = at(area(), 2, PROT_READ, PRIVATE, -1, 0);
	MUST(mlock2, p, 2 * PAGE, 1);
	FAULTS(MUST(mprotect, p, 2 * PAGE, RW));
	show_pages("locked on fault", p, 2);
	p = at(area(), 2, PROT_READ, SHARED, -1, 0);
	MUST(mlock2, p, 2 * PAGE, 0);
	MUST(madvise, p, 2 * PAGE, 24);
	FAULTS(MUST(mprotect, p, 2 * PAGE, RW));
	show_pages("shared", p, 2);

	p = fresh(2);
	MUST(mlock, p, 2 * PAGE);
	MUST(madvise, p, 2 * PAGE, 24);
	FAULTS(MUST(mremap, p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	show_pages("moved", q, 2);
	FAULTS(MUST(mremap, q, 2 * PAGE, 3 * PAGE, 0));
	show_pages("grown", q, 3);
	p = area();
	FAULTS(MUST(mremap, q, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p));
	show_pages("moved and grown", p, 5);
	q = area();
	FAULTS(MUST(mremap, p, 5 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	show_pages("moved and cut", q, 4);
	MUST(mlockall, MCL_FUTURE);
	p = at(area(), 2, PROT_READ, PRIVATE, -1, 0);
	show_pages("locked by mlockall", p, 2);
	return 0;
}
