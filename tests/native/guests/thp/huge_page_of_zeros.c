/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* A read maps the huge page of zeros; a write then a page of one's own. */
#include "thp.h"

int main(void)
{
	char *p = hugely(1, 0);

	FAULTS(look(p + 9 * PAGE));
	state("read", p, HUGE);
	FAULTS(look(p + 99 * PAGE));
	FAULTS(p[8 * PAGE] = 1);
	state("written", p, HUGE);
	print("%d %d\n", p[8 * PAGE], p[9 * PAGE]);

	p = hugely(1, 0);
	FAULTS(look(p));
	SHOW(mprotect, p, PAGE, PROT_READ);
	state("split", p, 1);
	state("the rest", p + PAGE, HUGE - 1);
	FAULTS(p[2 * PAGE] = 1);
	state("written", p + PAGE, HUGE - 1);

	p = hugely(1, 0);
	FAULTS(look(p));
	SHOW(madvise, p, MIB2, MADV_FREE);
	state("given up", p, HUGE);
	SHOW(madvise, p, 4 * PAGE, MADV_DONTNEED);
	state("partly gone", p, HUGE);
	SHOW(madvise, p, MIB2, MADV_DONTNEED);
	state("gone", p, HUGE);

	p = at(area(), HUGE, PROT_READ, PRIVATE, -1, 0);
	thp_tables = status("VmPTE");
	SHOW(madvise, p, MIB2, MADV_HUGEPAGE);
	FAULTS(look(p));
	state("read only", p, HUGE);
	SHOW(mprotect, p, MIB2, RW);
	state("writable", p, HUGE);
	FAULTS(p[0] = 1);
	state("written", p, HUGE);
	return 0;
}
