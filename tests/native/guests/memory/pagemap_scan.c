/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: proc
/* PAGEMAP_SCAN: categories, masks, places where it ends, and what it refuses. */
#pragma GCC diagnostic ignored "-Woverride-init" /* TRY() has defaults */
#include <sys/ioctl.h>

#include "pages.h"

struct region {
	u64 start, end, categories;
};
struct scan {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
};
#define SCAN _IOWR('f', 16, struct scan)
#define ALL 0x1ff
#define NR 16

static int fd;
static char *base;
static struct region found[NR];

static long scan(const char *what, struct scan *arg)
{
	memset(found, 0, sizeof(found));
	arg->size = arg->size ? arg->size : sizeof(*arg);
	long n = SYS(ioctl, fd, SCAN, arg);
	print("%s: ", what);
	if (failed(n)) {
		print("%s\n", errno_name(-n));
		return n;
	}
	print("%ld, walk_end +%ld:", n, (long)(arg->walk_end - (u64)base) / 4096);
	for (int i = 0; i < n; i++)
		print(" %ld-%ld:%lx", (long)(found[i].start - (u64)base) / 4096, (long)(found[i].end - (u64)base) / 4096,
		      found[i].categories);
	print("\n");
	return n;
}

#define TRY(...)                                                                             \
	do {                                                                                 \
		struct scan arg = { .start = (u64)base, .end = (u64)base + 16 * PAGE,          \
				    .vec = (u64)found, .vec_len = NR, .returned = ALL, __VA_ARGS__ }; \
		scan(#__VA_ARGS__, &arg);                                                    \
	} while (0)

int main(void)
{
	pages_begin();
	base = (void *)MUST(mmap, 0x100000000, 32 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	put("file", "x");
	int file = MUST(open, "file", O_RDWR);
	MUST(ftruncate, file, 4 * PAGE);
	MUST(mmap, base + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
	MUST(munmap, base + 12 * PAGE, PAGE);
	for (int i = 0; i < 3; i++)
		write_byte(base + i * PAGE, 1);
	read_byte(base + 4 * PAGE);
	MUST(madvise, base + 5 * PAGE, PAGE, 102);
	write_byte(base + 9 * PAGE, 1);
	MUST(mprotect, base + PAGE, PAGE, PROT_NONE);
	fd = MUST(open, "/proc/self/pagemap", O_RDONLY);

	TRY(.flags = 0);
	TRY(.mask = 8);
	TRY(.mask = 8, .anyof = 4);
	TRY(.mask = 8, .inverted = 4, .anyof = 4);
	TRY(.anyof = 0x100 | 0x20);
	TRY(.inverted = 8, .mask = 8);
	TRY(.inverted = ALL, .mask = 8 | 16);
	TRY(.mask = 2);
	TRY(.mask = 1);
	TRY(.mask = 128);
	TRY(.mask = 8, .returned = 0);
	TRY(.mask = 8, .returned = 4);
	TRY(.mask = 8, .max_pages = 2);
	TRY(.mask = 8, .max_pages = 4);
	TRY(.mask = 8, .max_pages = 5);
	TRY(.max_pages = 7);
	TRY(.mask = 8, .vec_len = 1);
	TRY(.mask = 8, .vec_len = 2);
	TRY(.vec_len = 3);
	TRY(.vec = 0, .vec_len = 0);
	TRY(.vec_len = 0);
	TRY(.vec = 0);
	TRY(.start = (u64)base + 1);
	TRY(.end = (u64)base + PAGE + 1);
	TRY(.end = (u64)base);
	TRY(.end = (u64)base - PAGE);
	TRY(.end = -1UL);
	TRY(.end = 1UL << 47);
	TRY(.end = (1UL << 47) + 1);
	TRY(.size = sizeof(struct scan) + 8);
	TRY(.size = sizeof(struct scan) - 8);
	TRY(.flags = 4);
	TRY(.mask = ALL + 1);
	TRY(.inverted = ALL + 1);
	TRY(.anyof = ALL + 1);
	TRY(.returned = ALL + 1);
	TRY(.flags = 1);
	TRY(.flags = 2);
	TRY(.flags = 3);
	TRY(.vec = 16);
	TRY(.vec = 16, .mask = 1);
	TRY(.vec = -PAGE);
	TRY(.vec_len = 1UL << 60);
	TRY(.start = (u64)base + 12 * PAGE, .end = (u64)base + 13 * PAGE);
	SHOW(ioctl, fd, SCAN, NOWHERE);
	SHOW(ioctl, fd, SCAN + 1, found);
	SHOW(ioctl, file, SCAN, found);

	u64 word[2];
	SHOW(pread64, fd, word, 4, (u64)base / PAGE * 8);
	SHOW(pread64, fd, word, 8, (u64)base / PAGE * 8 + 1);
	SHOW(pread64, fd, word, 12, (u64)base / PAGE * 8);
	SHOW(pread64, fd, word, 0, (u64)base / PAGE * 8 + 8);
	SHOW(pread64, fd, word, 16, (u64)base / PAGE * 8);
	SHOW(pread64, fd, word, 8, 1UL << 50);
	show_pages("pages", base, 14);

	base = (void *)MUST(mmap, 0x200000000, 8UL << 20, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	MUST(madvise, base, 8UL << 20, MADV_NOHUGEPAGE);
	write_byte(base + 515 * PAGE, 1);
	TRY(.end = (u64)base + (8UL << 20));
	TRY(.end = (u64)base + (8UL << 20), .max_pages = 100);
	TRY(.end = (u64)base + (8UL << 20), .start = (u64)base + 600 * PAGE);
	return 0;
}
