/* SPDX-License-Identifier: GPL-2.0-or-later */
/* After fork each has its own: what lies in swap for both, and is written by one. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static void all(const char *what, char *p)
{
	print("%s:", what);
	for (int i = 0; i < 8; i++)
		print(" %d", look(p + i * PAGE));
	print(", VmSwap %d\n", (int)status("VmSwap"));
}

int main(void)
{
	char *p = fresh(8);
	long child, other;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	touch(p, 8);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	child = MUST(fork);
	if (!child) {
		p[0] = 1;
		p[3 * PAGE] = 2;
		other = MUST(fork);
		if (!other) {
			p[0] = 3;
			p[PAGE] = 4;
			all("grandchild", p);
			leave(0);
		}
		reap(other);
		SHOW(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
		all("child", p);
		leave(0);
	}
	reap(child);
	p[2 * PAGE] = 5;
	all("parent", p);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	child = MUST(vfork);
	if (!child) {
		p[PAGE] = 6;
		leave(0);
	}
	reap(child);
	all("after vfork", p);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 4 * PAGE, MADV_DONTFORK);
	SHOW(madvise, p + 4 * PAGE, 4 * PAGE, MADV_WIPEONFORK);
	child = MUST(fork);
	if (!child) {
		print("wiped %d\n", look(p + 5 * PAGE));
		print("VmSwap %d\n", (int)status("VmSwap"));
		leave(0);
	}
	reap(child);
	all("parent", p);
	MUST(munmap, p, 8 * PAGE);
	swap_end();
	return 0;
}
