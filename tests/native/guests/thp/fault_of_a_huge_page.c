/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* One fault maps 2 MiB where they lie within the mapping, and nothing has been mapped in them. */
#include "thp.h"

int main(void)
{
	char *p = hugely(2, 0);

	state("fresh", p, 2 * HUGE);
	FAULTS(touch(p, HUGE));
	state("written", p, 2 * HUGE);
	FAULTS(p[HUGE * PAGE + 5 * PAGE] = 1);
	state("the second", p, 2 * HUGE);
	print("%d %d\n", p[3 * PAGE], p[HUGE * PAGE + 6 * PAGE]);

	p = hugely(2, 7);
	FAULTS(touch(p, 4));
	state("before the border", p, 2 * HUGE);
	FAULTS(touch(p + (HUGE - 7) * PAGE, 4));
	state("between the borders", p, 2 * HUGE);
	FAULTS(touch(p + (2 * HUGE - 7) * PAGE, 4));
	state("behind the last", p, 2 * HUGE);

	p = at(area(), HUGE, RW, PRIVATE, -1, 0);
	thp_tables = status("VmPTE");
	FAULTS(touch(p, 2));
	state("without advice", p, HUGE);
	SHOW(madvise, p, MIB2, MADV_HUGEPAGE);
	FAULTS(touch(p, 4));
	state("with advice too late", p, HUGE);

	p = at(area(), HUGE - 1, RW, PRIVATE, -1, 0);
	SHOW(madvise, p, MIB2 - PAGE, MADV_HUGEPAGE);
	FAULTS(touch(p, 2));
	state("too small", p, HUGE - 1);

	p = hugely(1, 0);
	SHOW(madvise, p, MIB2, MADV_NOHUGEPAGE);
	FAULTS(touch(p, 2));
	state("forbidden", p, HUGE);

	p = hugely(1, 0);
	FAULTS(touch(p, 2));
	SHOW(madvise, p, MIB2, MADV_NOHUGEPAGE);
	FAULTS(touch(p, HUGE));
	state("forbidden too late", p, HUGE);
	return 0;
}
