/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What calls leave behind that fail halfway, or that keep a mapping from which its pages have moved. */
// since: 6.18
// needs: proc
#include "mappings.h"

int main(void)
{
	char *p = fresh(6), *q = area(), *r;
	long locked = status("VmLck");

	MUST(mlock, p, 6 * PAGE);
	print("locked: %ld kB\n", status("VmLck") - locked);
	MUST(mremap, p + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | 4, q);
	print("one page has moved: %ld kB, %ld kB of it in the old place\n", status("VmLck") - locked, figure(p, "Locked"));
	MUST(munmap, q, PAGE);
	MUST(munmap, p, 6 * PAGE);
	print("nothing is left: %ld kB\n", status("VmLck") - locked);

	r = fresh(6);
	MUST(mprotect, r + 3 * PAGE, 3 * PAGE, PROT_READ);
	MUST(mseal, r + 3 * PAGE, 3 * PAGE, 0);
	SHOW(munmap, r + PAGE, 4 * PAGE);
	show_maps("a seal behind", r, 6);
	SHOW(munmap, r + 4 * PAGE, PAGE);
	show_maps("within a seal", r, 6);
	SHOW(mmap, r + 2 * PAGE, 2 * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
	show_maps("replaced", r, 6);

	MUST(mlockall, MCL_FUTURE);
	locked = status("VmLck");
	p = at(area(), 2, RW, MAP_DROPPABLE_ | MAP_ANONYMOUS, -1, 0);
	show_pages("droppable memory is filled", p, 2);
	print("but not locked: %ld kB\n", status("VmLck") - locked);
	MUST(mlockall, MCL_FUTURE | MCL_ONFAULT);
	p = at(area(), 2, RW, PRIVATE | MAP_POPULATE | MAP_LOCKED, -1, 0);
	show_pages("what is locked on fault is not filled, even if it is asked for", p, 2);
	return 0;
}
