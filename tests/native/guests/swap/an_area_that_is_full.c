/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An area that has no room for all pages: those without a slot stay. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

int main(void)
{
	char *p = fresh(12);

	swap_begin();
	make_area("a", 9, 8);
	MUST(swapon, "a", 0);
	touch(p, 12);
	SHOW(madvise, p, 12 * PAGE, MADV_PAGEOUT_);
	print("VmSwap %d, SwapFree %d\n", (int)status("VmSwap"), (int)number_of("/proc/meminfo", "SwapFree"));
	show_pages("pages", p, 12);
	for (int i = 0; i < 12; i++)
		if (look(p + i * PAGE) != 'A' + i)
			print("page %d is wrong\n", i);
	print("VmSwap %d\n", (int)status("VmSwap"));
	MUST(munmap, p, 12 * PAGE);
	swap_end();
	return 0;
}
