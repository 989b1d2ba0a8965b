/* SPDX-License-Identifier: GPL-2.0-or-later */
/* swapoff(2) brings back what several processes have, and what nobody touches. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

int main(void)
{
	char *p = fresh(16), *s = at(area(), 8, RW, SHARED, -1, 0);
	int ends[2], back[2];
	char byte;
	long child;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	MUST(pipe2, ends, 0);
	MUST(pipe2, back, 0);
	touch(p, 16);
	touch(s, 8);
	MUST(madvise, p, 16 * PAGE, MADV_PAGEOUT_);
	MUST(madvise, s, 8 * PAGE, MADV_PAGEOUT_);
	child = MUST(fork);
	if (!child) {
		p[0] = 1;
		MUST(madvise, p, PAGE, MADV_PAGEOUT_);
		MUST(mprotect, p + 8 * PAGE, 4 * PAGE, PROT_NONE);
		MUST(mprotect, p + 12 * PAGE, 4 * PAGE, PROT_READ);
		print("child: VmSwap %d\n", (int)status("VmSwap"));
		MUST(write, back[1], "r", 1);
		MUST(read, ends[0], &byte, 1);
		show_pages("child", p, 16);
		print("child: VmSwap %d, %d %d %d\n", (int)status("VmSwap"), p[0], p[PAGE], p[12 * PAGE]);
		MUST(mprotect, p + 8 * PAGE, 4 * PAGE, RW);
		print("%d\n", p[9 * PAGE]);
		leave(0);
	}
	MUST(read, back[0], &byte, 1);
	SHOW(swapoff, "a");
	print("parent: VmSwap %d, SwapTotal %d\n", (int)status("VmSwap"), (int)number_of("/proc/meminfo", "SwapTotal"));
	show_pages("parent", p, 16);
	show_pages("shared", s, 8);
	for (int i = 0; i < 16; i++)
		if (look(p + i * PAGE) != 'A' + i || (i < 8 && look(s + i * PAGE) != 'A' + i))
			print("page %d is wrong\n", i);
	MUST(write, ends[1], "g", 1);
	reap(child);
	swap_end();
	return 0;
}
