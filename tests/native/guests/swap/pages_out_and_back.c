/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private pages that MADV_PAGEOUT sends to swap, and what comes of them: reading, writing, fork, mprotect, mremap,
 * munmap, MADV_DONTNEED, MADV_FREE, MADV_WILLNEED.
 */
// since: 6.18
// needs: swap, proc
#include "swap.h"

/* Pages of the area that are used, and this process's. */
static void used(const char *what)
{
	print("%s: %d slots, VmSwap %d\n", what,
	      (int)(number_of("/proc/meminfo", "SwapTotal") - number_of("/proc/meminfo", "SwapFree")) / 4,
	      (int)status("VmSwap") / 4);
}

/* Slots of pages that have gone may be freed later where these are still being written. */
static void own(const char *what)
{
	print("%s: VmSwap %d\n", what, (int)status("VmSwap") / 4);
}

static void state(const char *what, char *p, u64 pages)
{
	show_pages(what, p, pages);
	print("Rss %d, Swap %d, SwapPss %d, Anonymous %d, Private_Dirty %d, Private_Clean %d\n", (int)figure(p, "Rss"),
	      (int)figure(p, "Swap"), (int)figure(p, "SwapPss"), (int)figure(p, "Anonymous"),
	      (int)figure(p, "Private_Dirty"), (int)figure(p, "Private_Clean"));
}

static long sum(char *p, u64 pages)
{
	long found = 0;

	for (u64 i = 0; i < pages; i++)
		found += look(p + i * PAGE);
	return found;
}

static char *out(u64 pages)
{
	char *p = fresh(pages);

	touch(p, pages);
	MUST(madvise, p, pages * PAGE, MADV_PAGEOUT_);
	return p;
}

int main(void)
{
	char *p, *q;
	long child;

	swap_begin();
	make_area("a", 256, 255);
	MUST(swapon, "a", 0);
	p = fresh(8);
	touch(p, 8);
	SHOW(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	state("out", p, 8);
	used("out");
	FAULTS(SAY(sum(p, 4)));
	state("read", p, 8);
	used("read");
	FAULTS(touch(p, 8));
	state("written", p, 8);
	used("written");
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	used("out again");
	MUST(madvise, p, 2 * PAGE, MADV_DONTNEED);
	own("two not needed");
	MUST(madvise, p + 2 * PAGE, 2 * PAGE, MADV_FREE);
	own("two free");
	SHOW(madvise, p, 8 * PAGE, MADV_WILLNEED);
	SHOW(madvise, p, 8 * PAGE, MADV_COLD_);
	state("some left", p, 8);
	MUST(mprotect, p + 4 * PAGE, PAGE, PROT_READ);
	MUST(mprotect, p + 5 * PAGE, PAGE, PROT_NONE);
	MUST(mprotect, p + 5 * PAGE, PAGE, RW);
	FAULTS(SAY(sum(p, 8)));
	show_pages("rights", p, 8);
	q = area();
	p = out(6);
	SHOW(mremap, p, 6 * PAGE, 6 * PAGE, 0);
	DO(mremap, p, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	state("moved", q, 6);
	MUST(munmap, q, 2 * PAGE);
	own("two unmapped");
	FAULTS(SAY(sum(q + 2 * PAGE, 4)));
	MUST(munmap, q, 6 * PAGE);
	own("unmapped");

	p = out(4);
	child = MUST(fork);
	if (!child) {
		state("child", p, 4);
		own("child");
		FAULTS(SAY(sum(p, 4)));
		FAULTS(touch(p, 2));
		state("child has written", p, 4);
		own("child has written");
		leave(0);
	}
	reap(child);
	state("parent", p, 4);
	own("parent");
	FAULTS(touch(p, 4));
	state("parent has written", p, 4);
	own("parent has written");
	child = MUST(fork);
	if (!child) {
		MUST(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
		state("mapped twice", p, 4);
		leave(0);
	}
	reap(child);
	p = fresh(4);
	look(p);
	MUST(mlock, p + PAGE, PAGE);
	SHOW(madvise, p + PAGE, PAGE, MADV_PAGEOUT_);
	touch(p + 2 * PAGE, 2);
	SHOW(madvise, p, PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p + 2 * PAGE, 2 * PAGE, MADV_PAGEOUT_);
	state("zero page, locked, out", p, 4);
	SHOW(mlock, p + 2 * PAGE, PAGE);
	state("locked", p, 4);
	p = out(3);
	SHOW(swapoff, "a");
	state("off", p, 3);
	FAULTS(SAY(sum(p, 3)));
	used("off");
	swap_end();
	return 0;
}
