/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* MADV_COLLAPSE of private memory makes a huge page of small ones. */
#include "thp.h"

static char *small(u64 pages)
{
	char *p = at(area(), pages, RW, PRIVATE, -1, 0);

	thp_tables = status("VmPTE");
	return p;
}

int main(void)
{
	char *p = small(2 * HUGE);
	long pid;

	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	touch(p, 5);
	state("five pages", p, 2 * HUGE);
	FAULTS(SYS(madvise, p, MIB2, MADV_COLLAPSE_));
	state("collapsed", p, 2 * HUGE);
	print("%d %d %d\n", p[0], p[4 * PAGE], p[5 * PAGE]);
	FAULTS(touch(p, HUGE));
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p, 2 * MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p + MIB2, MIB2, MADV_COLLAPSE_);
	look(p + MIB2);
	SHOW(madvise, p, 2 * MIB2, MADV_COLLAPSE_);
	state("both", p, 2 * HUGE);

	p = small(3 * HUGE);
	touch(p, 3 * HUGE);
	SHOW(madvise, p + PAGE, 2 * MIB2, MADV_COLLAPSE_);
	state("what lies within", p, 3 * HUGE);
	SHOW(madvise, p, MIB2 - PAGE, MADV_COLLAPSE_);
	SHOW(madvise, p + PAGE, PAGE, MADV_COLLAPSE_);
	SHOW(madvise, p + PAGE, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p, 0, MADV_COLLAPSE_);
	SHOW(madvise, p + 1, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p, 5 * MIB2, MADV_COLLAPSE_);
	state("all", p, 3 * HUGE);

	p = small(HUGE);
	touch(p, HUGE);
	SHOW(mprotect, p, MIB2, PROT_READ);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("read only", p, HUGE);
	SHOW(mprotect, p, MIB2, RW);
	FAULTS(touch(p, 3));

	p = small(HUGE);
	touch(p, HUGE);
	SHOW(mprotect, p, MIB2, PROT_NONE);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("nothing allowed", p, HUGE);
	SHOW(mprotect, p, MIB2, RW);
	print("%d\n", p[PAGE]);

	p = small(HUGE);
	touch(p, HUGE);
	SHOW(madvise, p, MIB2, MADV_NOHUGEPAGE);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p, MIB2, MADV_HUGEPAGE);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, p, PAGE, MADV_DONTNEED);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("again", p, HUGE);

	p = small(HUGE);
	touch(p, HUGE);
	SHOW(madvise, p + 7 * PAGE, PAGE, 102);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("with a guard", p, HUGE);

	p = small(HUGE);
	touch(p, HUGE);
	pid = MUST(fork);
	if (!pid) {
		SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
		state("in a child", p, HUGE);
		FAULTS(p[0] = 1);
		leave(0);
	}
	reap(pid);
	state("in the parent", p, HUGE);
	FAULTS(touch(p, 2));

	p = small(HUGE);
	for (u64 i = 0; i < HUGE; i++)
		look(p + i * PAGE);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	touch(p, 1);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("of zeros but one", p, HUGE);

	p = small(HUGE);
	touch(p, 3);
	SHOW(mlock, p, MIB2);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("locked", p, HUGE);

	p = at(area(), HUGE, RW, PRIVATE, file_of(3), 0);
	touch(p, 2);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	p = at(area(), HUGE - 1, RW, PRIVATE, -1, 0);
	touch(p, 2);
	SHOW(madvise, p, MIB2 - PAGE, MADV_COLLAPSE_);
	SHOW(prctl, 41, 1, 0, 0, 0);
	p = small(HUGE);
	touch(p, 2);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	SHOW(prctl, 41, 1, 2, 0, 0);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	state("not by itself", p, HUGE);
	return 0;
}
