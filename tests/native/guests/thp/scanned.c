/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* PAGEMAP_SCAN of huge pages. */
#include "thp.h"

struct region {
	u64 start, end, categories;
};
struct scan {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
};
#define SCAN _IOWR('f', 16, struct scan)
#define ALL 0x1ff

static struct region found[16];

static void scan(const char *what, char *p, u64 first, u64 last, u64 mask, u64 most)
{
	int fd = MUST(open, "/proc/self/pagemap", O_RDONLY);
	struct scan arg = { sizeof(arg), 0, (u64)p + first * PAGE, (u64)p + last * PAGE, 0, (u64)found, 16, most, 0, mask, 0,
			    ALL };
	long n = SYS(ioctl, fd, SCAN, &arg);

	print("%s: %ld to %ld:", what, n, (long)(arg.walk_end - (u64)p) / 4096);
	for (int i = 0; i < n; i++)
		print(" %ld-%ld:%lx", (long)(found[i].start - (u64)p) / 4096, (long)(found[i].end - (u64)p) / 4096,
		      found[i].categories);
	print("\n");
	MUST(close, fd);
}

int main(void)
{
	char *p = hugely(4, 0);

	touch(p, 3);
	look(p + MIB2);
	touch(p + 2 * MIB2, HUGE);
	SHOW(madvise, p + 2 * MIB2 + 4 * PAGE, PAGE, MADV_DONTNEED);
	scan("all", p, 0, 4 * HUGE, 0, 0);
	scan("present", p, 0, 4 * HUGE, 8, 0);
	scan("huge", p, 0, 4 * HUGE, 64, 0);
	scan("a part", p, 5, 600, 64, 0);
	scan("a few", p, 5, 600, 64, 7);
	scan("zeros", p, 0, 4 * HUGE, 32, 0);
	return 0;
}
