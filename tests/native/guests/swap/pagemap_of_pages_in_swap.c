/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PAGEMAP_SCAN and /proc/self/pagemap of pages in swap. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

#include <sys/ioctl.h>

struct region {
	u64 start, end, categories;
};
struct scan {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
};

static void scan(char *p, u64 pages, u64 mask)
{
	static struct region found[16];
	struct scan arg = { .size = sizeof(arg), .start = (u64)p, .end = (u64)p + pages * PAGE, .vec = (u64)found,
			    .vec_len = 16, .mask = mask, .returned = 0x17f };
	int fd = MUST(open, "/proc/self/pagemap", O_RDONLY);
	long n = MUST(ioctl, fd, _IOWR('f', 16, struct scan), &arg);

	print("%lx:", mask);
	for (int i = 0; i < n; i++)
		print(" %ld-%ld:%lx", (long)(found[i].start - (u64)p) / 4096, (long)(found[i].end - (u64)p) / 4096,
		      found[i].categories);
	print("\n");
	MUST(close, fd);
}

static u64 word(char *p)
{
	int fd = MUST(open, "/proc/self/pagemap", O_RDONLY);
	u64 found = 0;

	MUST(pread64, fd, &found, 8, (u64)p / PAGE * 8);
	MUST(close, fd);
	return found;
}

int main(void)
{
	char *p = fresh(8), *s = at(area(), 4, RW, SHARED, -1, 0);
	u64 first;

	swap_begin();
	make_area("a", 64, 63);
	make_area("b", 64, 63);
	MUST(swapon, "b", 0);
	MUST(swapon, "a", PREFER | 1);
	touch(p, 8);
	touch(s, 4);
	MUST(madvise, p + 2 * PAGE, 4 * PAGE, MADV_PAGEOUT_);
	MUST(madvise, s, 2 * PAGE, MADV_PAGEOUT_);
	scan(p, 8, 0);
	scan(p, 8, 1 << 4);
	scan(p, 8, 1 << 3);
	scan(s, 4, 0);
	first = word(p + 2 * PAGE);
	for (int i = 2; i < 6; i++)
		print("type %ld, slot +%ld\n", (long)(word(p + i * PAGE) & 31),
		      (long)((word(p + i * PAGE) >> 5) - (first >> 5)) & 0xffff);
	MUST(munmap, s, 4 * PAGE);
	MUST(munmap, p, 8 * PAGE);
	swap_end();
	return 0;
}
