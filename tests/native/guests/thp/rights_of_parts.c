/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* mprotect(2) of a whole huge page and of a part. */
#include "pages.h"
#define show_pages show_mapped
#include "thp.h"

int main(void)
{
	pages_begin();
	char *p = hugely(2, 0);

	touch(p, 2 * HUGE);
	SHOW(mprotect, p, 2 * MIB2, PROT_READ);
	state("read only", p, 2 * HUGE);
	SAY(write_byte(p, 1));
	SHOW(mprotect, p, 2 * MIB2, RW);
	FAULTS(p[0] = 2);
	state("writable again", p, 2 * HUGE);
	SHOW(mprotect, p, 2 * MIB2, PROT_NONE);
	state("nothing", p, 2 * HUGE);
	SAY(read_byte(p));
	SHOW(mprotect, p, 2 * MIB2, RW);
	FAULTS(p[MIB2] = 2);
	state("all", p, 2 * HUGE);
	SHOW(mprotect, p + 10 * PAGE, PAGE, PROT_READ);
	state("before", p, 10);
	state("one page", p + 10 * PAGE, 1);
	state("behind", p + 11 * PAGE, 2 * HUGE - 11);
	SAY(write_byte(p + 10 * PAGE, 1));
	SAY(write_byte(p + 11 * PAGE, 1));
	SHOW(mprotect, p + 10 * PAGE, PAGE, RW);
	show_maps("again one", p, 2 * HUGE);
	state("again one", p, 2 * HUGE);
	FAULTS(touch(p, 20));
	SHOW(mprotect, p + MIB2, MIB2, PROT_READ);
	state("the first", p, HUGE);
	state("the second", p + MIB2, HUGE);
	SAY(write_byte(p + MIB2, 1));
	SAY(read_byte(p + MIB2 + PAGE));
	return 0;
}
