/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that was given up with MADV_FREE, or is locked, or of a droppable mapping, where there is swap. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

int main(void)
{
	char *p = fresh(8);

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	touch(p, 8);
	MUST(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 2 * PAGE, MADV_FREE);
	print("VmSwap %d\n", (int)status("VmSwap"));
	print("%d %d %d\n", look(p), look(p + PAGE), look(p + 2 * PAGE));
	SHOW(mlock, p, 8 * PAGE);
	print("VmSwap %d\n", (int)status("VmSwap"));
	show_pages("locked", p, 8);
	SHOW(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 8 * PAGE, MADV_FREE);
	MUST(munlock, p, 8 * PAGE);
	p = fresh(8);
	touch(p, 8);
	SHOW(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	print("VmSwap %d\n", (int)status("VmSwap"));
	SHOW(mlock2, p, 4 * PAGE, 1);
	print("VmSwap %d\n", (int)status("VmSwap"));
	print("%d\n", look(p + 3 * PAGE));
	print("VmSwap %d\n", (int)status("VmSwap"));
	MUST(munlock, p, 8 * PAGE);
	SHOW(madvise, p, 8 * PAGE, MADV_POPULATE_READ);
	print("VmSwap %d\n", (int)status("VmSwap"));
	p = fresh(8);
	touch(p, 8);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 8 * PAGE, MADV_POPULATE_WRITE);
	print("VmSwap %d\n", (int)status("VmSwap"));
	show_pages("populated", p, 8);
	p = fresh(8);
	touch(p, 8);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 2 * PAGE, 102);
	print("VmSwap %d\n", (int)status("VmSwap"));
	SHOW(madvise, p + 2 * PAGE, 2 * PAGE, MADV_DONTNEED);
	SHOW(madvise, p + 4 * PAGE, 2 * PAGE, MADV_DONTNEED_LOCKED);
	print("VmSwap %d\n", (int)status("VmSwap"));
	show_pages("at the end", p, 8);
	swap_end();
	return 0;
}
