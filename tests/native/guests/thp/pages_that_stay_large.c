/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages, no swap
/* Large pages that small entries map: mprotect gathers what their entries say; files; tables of what is given up. */
#include "thp.h"

static void used(const char *what, char *p)
{
	print("%s: Rss %ld Referenced %ld Private_Dirty %ld\n", what, figure(p, "Rss"), figure(p, "Referenced"),
	      figure(p, "Private_Dirty"));
}

/* A memfd of so many huge pages, of which the first is one. */
static char *huge_file(int *file, u64 pages)
{
	char *p = at(area(), HUGE * pages, RW, SHARED & MAP_SHARED, *file = file_of(HUGE * pages), 0);

	MUST(madvise, p, MIB2, MADV_COLLAPSE_);
	return p;
}

int main(void)
{
	int clear = MUST(open, "/proc/self/clear_refs", O_WRONLY), file;
	char *p, *q;

	p = hugely(1, 0);
	touch(p, HUGE);
	MUST(munmap, p + 500 * PAGE, 12 * PAGE);
	MUST(write, clear, "1", 1);
	look(p + 5 * PAGE);
	used("one used", p);
	MUST(mprotect, p + 100 * PAGE, 100 * PAGE, PROT_READ);
	used("rights of others changed", p);
	MUST(mprotect, p, 50 * PAGE, PROT_READ);
	used("rights of some and that one", p);
	p = hugely(1, 0);
	touch(p, HUGE);
	MUST(mprotect, p + 3 * PAGE, PAGE, PROT_READ);
	MUST(mprotect, p + 3 * PAGE, PAGE, RW);
	MUST(write, clear, "1", 1);
	p[3 * PAGE] = 'x';
	used("split by rights", p);
	MUST(mprotect, p, MIB2, PROT_READ);
	used("all of it", p);

	p = huge_file(&file, 2);
	print("file: ShmemPmdMapped %ld Rss %ld\n", figure(p, "ShmemPmdMapped"), figure(p, "Rss"));
	q = at(area(), 20, RW, MAP_SHARED, file, 0);
	look(q);
	print("a part elsewhere: Rss %ld, first %lx, last %lx\n", figure(q, "Rss"), mapped(p), mapped(p + 511 * PAGE));
	MUST(munmap, q, 20 * PAGE);
	q = at(area(), 20, RW, MAP_SHARED, file, 100);
	look(q);
	print("another part: first %lx, that one %lx\n", mapped(p), mapped(p + 100 * PAGE));
	MUST(ftruncate, file, 300 * PAGE);
	print("truncated: Rss %ld and %ld\n", figure(p, "Rss"), figure(q, "Rss"));

	p = huge_file(&file, 2);
	MUST(madvise, p, MIB2, MADV_PAGEOUT_);
	print("sent out: ShmemPmdMapped %ld Rss %ld\n", figure(p, "ShmemPmdMapped"), figure(p, "Rss"));
	p = huge_file(&file, 2);
	MUST(madvise, p, MIB2 / 2, MADV_COLD_);
	print("a half cold: ShmemPmdMapped %ld Rss %ld\n", figure(p, "ShmemPmdMapped"), figure(p, "Rss"));

	p = hugely(1, 0);
	touch(p, HUGE);
	MUST(madvise, p, MIB2, MADV_FREE);
	MUST(madvise, p, MIB2, MADV_PAGEOUT_);
	print("given up: Rss %ld tables %ld\n", figure(p, "Rss"), status("VmPTE") - thp_tables);
	thp_tables = status("VmPTE");
	p = at(area(), HUGE, RW, MAP_DROPPABLE_ | MAP_ANONYMOUS, -1, 0);
	MUST(madvise, p, MIB2, MADV_HUGEPAGE);
	touch(p, 1);
	MUST(madvise, p, MIB2, MADV_PAGEOUT_);
	print("droppable: Rss %ld tables %ld\n", figure(p, "Rss"), status("VmPTE") - thp_tables);

	p = hugely(1, 0);
	MUST(mlock2, p, MIB2, 1);
	MUST(munlock, p, 300 * PAGE);
	p[0] = 1;
	p[400 * PAGE] = 1;
	MUST(madvise, p, 300 * PAGE, MADV_PAGEOUT_);
	pages_of(p, HUGE);
	return 0;
}
