/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mremap(2) of pages in swap: moved, grown, shrunk, left behind (MREMAP_DONTUNMAP). */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static void state(const char *what, char *p, u64 pages)
{
	show_pages(what, p, pages);
	print("VmSwap %d\n", (int)status("VmSwap"));
}

int main(void)
{
	char *p = fresh(8), *q = area(), *r = area();

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	touch(p, 8);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	DO(mremap, p, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	state("moved and grown", q, 12);
	DO(mremap, q, 12 * PAGE, 6 * PAGE, 0);
	state("shrunk", q, 6);
	DO(mremap, q + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r);
	state("a part", r, 2);
	state("the rest", q + 3 * PAGE, 3);
	p = area();
	DO(mremap, r, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | 4, p);
	state("left behind", r, 2);
	state("and where it went", p, 2);
	print("%d %d %d\n", look(q), look(q + 3 * PAGE), look(p + PAGE));
	print("%d\n", look(r));
	MUST(munmap, p, 2 * PAGE);
	MUST(munmap, q, 6 * PAGE);
	print("VmSwap %d\n", (int)status("VmSwap"));
	swap_end();
	return 0;
}
