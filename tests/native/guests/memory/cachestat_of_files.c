/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.5
// needs: root
/* cachestat(2): how many pages of a range are cached, and who may ask. */
#include "native.h"

static u64 range[2], stats[5];

#define STAT(fd, from, size)                              \
	do {                                              \
		range[0] = (from), range[1] = (size);     \
		memset(stats, 0xff, sizeof(stats));       \
		SHOW(cachestat, fd, range, stats, 0);     \
		print("  %ld %ld %ld\n", stats[0], stats[1], stats[2]); \
	} while (0)

int main(void)
{
	int fd = MUST(memfd_create, "m", MFD_CLOEXEC);
	MUST(ftruncate, fd, 8 * PAGE);
	STAT(fd, 0, 0);
	MUST(pwrite64, fd, "x", 1, 0);
	MUST(pwrite64, fd, "x", 1, 3 * PAGE);
	MUST(pwrite64, fd, "x", 1, 7 * PAGE);
	STAT(fd, 0, 0);
	STAT(fd, 0, 1);
	STAT(fd, 0, PAGE);
	STAT(fd, 0, 3 * PAGE);
	STAT(fd, 0, 3 * PAGE + 1);
	STAT(fd, PAGE, 0);
	STAT(fd, PAGE - 1, 1);
	STAT(fd, 3 * PAGE, 4 * PAGE);
	STAT(fd, 3 * PAGE, -1UL);
	STAT(fd, 3 * PAGE, -PAGE);
	STAT(fd, 100 * PAGE, 0);
	MUST(fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE);
	STAT(fd, 0, 0);
	char *p = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	*(volatile char *)(p + PAGE);
	STAT(fd, 0, 0);
	SHOW(cachestat, fd, NOWHERE, stats, 0);
	SHOW(cachestat, fd, range, NOWHERE, 0);
	SHOW(cachestat, fd, range, stats, 1);
	SHOW(cachestat, fd, NOWHERE, stats, 1);
	SHOW(cachestat, -1, range, stats, 0);
	SHOW(cachestat, -1, NOWHERE, stats, 1);
	int pipes[2];
	MUST(pipe, pipes);
	STAT(pipes[0], 0, 0);
	STAT(MUST(open, "/", O_RDONLY), 0, 0);
	STAT(MUST(open, ".", O_PATH), 0, 0);
	STAT(MUST(open, "/dev/null", O_RDONLY), 0, 0);
	put("file", "text");
	STAT(MUST(open, "file", O_RDONLY), 0, 0);
	int other = MUST(open, "file", O_RDONLY);
	become(1000);
	STAT(other, 0, 0);
	SHOW(cachestat, other, range, stats, 1);
	SHOW(cachestat, other, NOWHERE, stats, 1);
	STAT(fd, 0, 0);
	return 0;
}
