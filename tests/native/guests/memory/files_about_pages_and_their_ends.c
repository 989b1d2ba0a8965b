/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.7
/* /proc/self/pagemap, mem and clear_refs: places that are no files' places, and arguments that do not fit. */
#include "mappings.h"

#define LAST ((1UL << 47) / PAGE - 2)

struct scan { /* struct pm_scan_arg */
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, all, any, wanted;
};

static void scan(int fd, const char *what, struct scan scan)
{
	long n;

	scan.size = sizeof(scan);
	n = SYS(ioctl, fd, 0xc0606610, &scan);
	print("%s: %s, to %ld\n", what, result_name(n), scan.walk_end ? (long)(scan.walk_end - scan.start) / (long)PAGE : -1);
}

int main(void)
{
	int pagemap = MUST(open, "/proc/self/pagemap", O_RDONLY), memory = MUST(open, "/proc/self/mem", O_RDWR);
	int clear = MUST(open, "/proc/self/clear_refs", O_WRONLY);
	u64 words[4], found[4][3], p = (u64)fresh(4);

	SHOW(pread64, pagemap, words, 8, LAST * 8);
	SHOW(pread64, pagemap, words, 8, (LAST + 1) * 8);
	SHOW(pread64, pagemap, words, 32, (LAST - 1) * 8);
	SHOW(pread64, pagemap, words, 8, 4);
	SHOW(pread64, pagemap, words, 4, 8);
	SHOW(lseek, pagemap, -4L, SEEK_SET);
	SHOW(lseek, pagemap, -8192L, SEEK_SET);
	SHOW(read, pagemap, words, 8);
	SHOW(lseek, pagemap, 8200L, SEEK_CUR);
	SHOW(read, pagemap, words, 8);
	SHOW(lseek, pagemap, 0L, SEEK_CUR);
	SHOW(lseek, pagemap, 0L, SEEK_END);
	SHOW(lseek, memory, -8192L, SEEK_SET);
	SHOW(read, memory, words, 8);
	SHOW(lseek, memory, 0L, SEEK_END);
	touch((char *)p, 2);
	scan(pagemap, "all", (struct scan){ .start = p, .end = p + 4 * PAGE, .vec = (u64)found, .vec_len = 4, .wanted = 12 });
	scan(pagemap, "nowhere to write to", (struct scan){ .start = p, .end = p + 4 * PAGE, .vec = 16, .vec_len = 4, .wanted = 12 });
	scan(pagemap, "not protected", (struct scan){ .start = p, .end = p + 4 * PAGE, .vec = (u64)found, .vec_len = 4, .flags = 2 });
	scan(pagemap, "unaligned", (struct scan){ .start = p + 1, .end = p + 4 * PAGE, .vec = (u64)found, .vec_len = 4 });
	SHOW(write, clear, "1", 1);
	SHOW(write, clear, "1\n", 2);
	SHOW(write, clear, "\t1", 2);
	SHOW(write, clear, "0000000000001", 13);
	SHOW(write, clear, "000000000001", 12);
	SHOW(write, clear, "1 1", 3);
	SHOW(write, clear, "0x1", 3);
	SHOW(write, clear, "1\0x", 3);
	SHOW(write, clear, "0", 1);
	SHOW(write, clear, "6", 1);
	SHOW(write, clear, "-1", 2);
	return 0;
}
