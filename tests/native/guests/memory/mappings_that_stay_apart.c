/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Neighbours whose private pages were faulted in apart from each other have an anon_vma each, and do not become one. */
// since: 6.16
// needs: proc
#include "mappings.h"

int main(void)
{
	char *p = fresh(1);

	touch(p, 1);
	at(p + 2 * PAGE, 1, RW, PRIVATE, -1, 0);
	show_maps("apart", p, 3);
	touch(p + 2 * PAGE, 1);
	at(p + PAGE, 1, RW, PRIVATE, -1, 0);
	show_maps("a new one between two", p, 3);

	p = fresh(1);
	touch(p, 1);
	at(p + PAGE, 1, RW, PRIVATE, -1, 0);
	touch(p + PAGE, 1);
	show_maps("one that grew", p, 2);

	p = fresh(2);
	MUST(mprotect, p + PAGE, PAGE, PROT_READ | PROT_EXEC);
	touch(p, 1);
	MUST(mprotect, p + PAGE, PAGE, RW | PROT_EXEC);
	touch(p + PAGE, 1);
	MUST(mprotect, p + PAGE, PAGE, RW);
	show_maps("rights do not matter", p, 2);

	p = fresh(2);
	MUST(mlock2, p, PAGE, 1);
	touch(p, 2);
	MUST(munlock, p, PAGE);
	show_maps("flags do", p, 2);

	p = fresh(3);
	MUST(mlock2, p + PAGE, PAGE, 1);
	touch(p, 1);
	touch(p + 2 * PAGE, 1);
	MUST(munlock, p + PAGE, PAGE);
	show_maps("an untouched one between two", p, 3);

	print("in a child\n");
	p = fresh(2);
	touch(p, 2);
	long child = MUST(fork);
	if (!child) {
		MUST(mprotect, p + PAGE, PAGE, PROT_READ);
		MUST(mprotect, p + PAGE, PAGE, RW);
		show_maps("split and joined", p, 2);
		at(p + 2 * PAGE, 1, RW, PRIVATE, -1, 0);
		show_maps("a new one beside an inherited one", p, 3);
		touch(p + 2 * PAGE, 1);
		at(p + 3 * PAGE, 1, RW, PRIVATE, -1, 0);
		show_maps("and beside that", p, 4);
		leave(0);
	}
	reap(child);

	char *q = fresh(1);
	touch(q, 1);
	at(q + 2 * PAGE, 1, RW, PRIVATE, -1, 0);
	p = fresh(3);
	touch(p, 3);
	show_maps("before a move", p, 3);
	MUST(mremap, p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE);
	MUST(mremap, q + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE);
	show_maps("there and back again", p, 3);
	p = fresh(3);
	MUST(mremap, p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE);
	show_maps("what was not touched can go anywhere", q, 3);

	p = fresh(2);
	look(p);
	MUST(mlock2, p, PAGE, 1);
	look(p + PAGE);
	MUST(munlock, p, PAGE);
	show_maps("only read", p, 2);
	return 0;
}
