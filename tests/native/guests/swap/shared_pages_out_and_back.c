/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of shared memory and of a memfd that MADV_PAGEOUT sends to swap: two mappings, reads, writes, holes, sizes. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static void state(const char *what, char *p, u64 pages)
{
	show_pages(what, p, pages);
	print("Rss %d, Swap %d, SwapPss %d, VmSwap %d\n", (int)figure(p, "Rss"), (int)figure(p, "Swap"),
	      (int)figure(p, "SwapPss"), (int)status("VmSwap"));
}

static long sum(char *p, u64 pages)
{
	long found = 0;

	for (u64 i = 0; i < pages; i++)
		found += look(p + i * PAGE);
	return found;
}

static long blocks(int fd)
{
	struct stat found;

	MUST(fstat, fd, &found);
	return found.st_blocks / 8;
}

int main(void)
{
	static char page[PAGE];
	char *p, *q;
	int fd;

	swap_begin();
	make_area("a", 256, 255);
	MUST(swapon, "a", 0);
	p = at(area(), 6, RW, SHARED, -1, 0);
	touch(p, 6);
	SHOW(madvise, p, 6 * PAGE, MADV_PAGEOUT_);
	state("anonymous", p, 6);
	FAULTS(SAY(look(p)));
	FAULTS(*(volatile char *)(p + PAGE) = 'x');
	state("two touched", p, 6);
	SAY(sum(p, 6));
	state("all touched", p, 6);
	MUST(munmap, p, 6 * PAGE);

	fd = file_of(8);
	p = at(area(), 8, RW, MAP_SHARED, fd, 0);
	sum(p, 8);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	state("memfd", p, 8);
	SAY(blocks(fd));
	SHOW(lseek, fd, 0, SEEK_HOLE);
	SHOW(lseek, fd, PAGE, SEEK_DATA);
	SHOW(pread64, fd, page, 2, 2 * PAGE);
	SAY(page[0]);
	SHOW(pwrite64, fd, "w", 1, 3 * PAGE + 1);
	FAULTS(SAY(look(p + 3 * PAGE)));
	SAY(look(p + 3 * PAGE + 1));
	q = at(area(), 8, RW, MAP_PRIVATE, fd, 0);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	state("private, of what is out", q, 8);
	FAULTS(SAY(look(q + 5 * PAGE)));
	FAULTS(touch(q + 6 * PAGE, 1));
	SAY(look(p + 6 * PAGE));
	SHOW(fallocate, fd, 3, 4 * PAGE, PAGE);
	SAY(blocks(fd));
	SAY(look(p + 4 * PAGE));
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(ftruncate, fd, PAGE + 100);
	SAY(blocks(fd));
	MUST(ftruncate, fd, 8 * PAGE);
	SAY(look(p + PAGE));
	SAY(look(p + PAGE + 100));
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(madvise, p, 8 * PAGE, MADV_WILLNEED);
	SHOW(madvise, p, 8 * PAGE, MADV_REMOVE);
	SAY(blocks(fd));
	state("removed", p, 8);
	MUST(ftruncate, fd, 4 * PAGE);
	touch(p, 4);
	MUST(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	SHOW(swapoff, "a");
	FAULTS(SAY(sum(p, 4)));
	state("off", p, 4);
	swap_end();
	return 0;
}
