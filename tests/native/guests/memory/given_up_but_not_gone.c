/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MADV_FREE leaves pages and contents until memory is short, and a write keeps a page; it counts in batches of 31. */
// since: 6.5
// needs: proc
#include "mappings.h"

static void counted(const char *what, char *p)
{
	print("%s: Rss %ld, Referenced %ld, LazyFree %ld kB\n", what, figure(p, "Rss"), figure(p, "Referenced"),
	      figure(p, "LazyFree"));
}

int main(void)
{
	char *p = fresh(64);
	int fd = file_of(1);

	touch(p, 64);
	counted("written", p);
	MUST(madvise, p, 64 * PAGE, MADV_FREE);
	counted("given up", p);
	SAY(look(p + 3 * PAGE));
	FAULTS(touch(p, 2));
	counted("two written again", p);
	show_pages("they stay", p, 3);
	MUST(madvise, p, 64 * PAGE, MADV_FREE);
	counted("given up again", p);
	p = fresh(2);
	look(p);
	MUST(madvise, p, 2 * PAGE, MADV_FREE);
	show_pages("the page of zeros", p, 2);
	p = fresh(2);
	touch(p, 2);
	MUST(mprotect, p, 2 * PAGE, PROT_READ);
	SHOW(madvise, p, PAGE, MADV_FREE);
	SAY(look(p));
	p = fresh(2);
	touch(p, 2);
	long child = MUST(fork);
	if (!child) {
		MUST(madvise, p, 2 * PAGE, MADV_FREE);
		FAULTS(touch(p, 1));
		SAY(look(p + PAGE));
		leave(0);
	}
	reap(child);
	SAY(look(p + PAGE));
	p = at(area(), 1, RW, SHARED, -1, 0);
	SHOW(madvise, p, PAGE, MADV_FREE);
	p = at(area(), 1, RW, MAP_PRIVATE, fd, 0);
	SHOW(madvise, p, PAGE, MADV_FREE);
	p = fresh(1);
	MUST(mlock, p, PAGE);
	SHOW(madvise, p, PAGE, MADV_FREE);
	return 0;
}
