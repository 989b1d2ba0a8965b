/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* Advice and locks on a part of a huge page split the mapping, and with it the page. */
#include "thp.h"

int main(void)
{
	char *p = hugely(2, 0);

	touch(p, 2 * HUGE);
	SHOW(madvise, p + 3 * PAGE, PAGE, MADV_DONTDUMP);
	state("before", p, 3);
	state("one page", p + 3 * PAGE, 1);
	state("behind", p + 4 * PAGE, 2 * HUGE - 4);

	p = hugely(2, 0);
	touch(p, 2 * HUGE);
	SHOW(mlock, p, MIB2);
	state("locked", p, HUGE);
	state("not locked", p + MIB2, HUGE);
	print("VmLck %ld Locked %ld\n", status("VmLck"), figure(p, "Locked"));
	SHOW(munlock, p + PAGE, PAGE);
	state("locked", p, 1);
	print("VmLck %ld Locked %ld\n", status("VmLck"), figure(p, "Locked"));
	SHOW(munlockall);
	show_maps("all", p, 2 * HUGE);

	p = hugely(2, 0);
	FAULTS(SYS(mlock, p, 2 * MIB2));
	state("filled by a lock", p, 2 * HUGE);
	p = hugely(1, 0);
	FAULTS(SYS(madvise, p, MIB2, MADV_POPULATE_WRITE));
	state("filled by advice", p, HUGE);
	p = hugely(1, 0);
	FAULTS(SYS(madvise, p, MIB2, MADV_POPULATE_READ));
	state("filled by advice to read", p, HUGE);
	FAULTS(SYS(madvise, p, MIB2, MADV_POPULATE_WRITE));
	state("and to write", p, HUGE);
	p = hugely(2, 16);
	FAULTS(SYS(madvise, p, 2 * MIB2, MADV_POPULATE_WRITE));
	state("one of three", p, 2 * HUGE);

	p = hugely(1, 0);
	touch(p, HUGE);
	SHOW(madvise, p + 8 * PAGE, 2 * PAGE, 102);
	state("with guards", p, HUGE);
	SHOW(madvise, p + 8 * PAGE, 2 * PAGE, 103);
	FAULTS(touch(p, HUGE));
	state("without", p, HUGE);
	return 0;
}
