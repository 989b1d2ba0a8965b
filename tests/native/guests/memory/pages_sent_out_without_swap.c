/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MADV_PAGEOUT and MADV_COLD where there is no swap: private memory stays, pages of files lose their entries but not their
 * place in memory, and what two mappings have is left alone.
 */
// since: 6.5
// needs: proc, no swap
#include "mappings.h"

int main(void)
{
	char *p = fresh(4), *q;
	int fd = file_of(8);

	touch(p, 4);
	SHOW(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	show_pages("private", p, 4);
	SAY(figure(p, "Referenced"));
	SHOW(madvise, p, 4 * PAGE, MADV_COLD_);
	SAY(figure(p, "Referenced"));
	FAULTS(touch(p, 4));
	MUST(madvise, p, 2 * PAGE, MADV_FREE);
	MUST(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	show_pages("given up before", p, 4);
	SAY(look(p));

	p = at(area(), 8, RW, MAP_SHARED, fd, 0);
	touch(p, 2);
	look(p + 3 * PAGE);
	MUST(madvise, p, 8 * PAGE, MADV_COLD_);
	show_pages("of a file, cold", p, 8);
	SAY(figure(p, "Referenced"));
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	show_pages("of a file, out", p, 8);
	SAY(figure(p, "Rss"));
	FAULTS(touch(p, 1));
	SAY(look(p + PAGE));
	q = at(area(), 8, RW, MAP_SHARED, fd, 0);
	look(q);
	look(p);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	show_pages("mapped twice", p, 8);
	MUST(munmap, q, 8 * PAGE);
	MUST(munmap, p, 8 * PAGE);
	p = at(area(), 8, RW, MAP_PRIVATE, fd, 0);
	touch(p, 1);
	look(p + PAGE);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	show_pages("a private copy, and the file's", p, 3);
	p = at(area(), 2, RW, SHARED, -1, 0);
	touch(p, 2);
	MUST(madvise, p, 2 * PAGE, MADV_PAGEOUT_);
	show_pages("shared memory", p, 2);
	SAY(look(p + PAGE));
	p = fresh(1);
	MUST(mlock, p, PAGE);
	SHOW(madvise, p, PAGE, MADV_COLD_);
	SHOW(madvise, p, PAGE, MADV_PAGEOUT_);
	return 0;
}
