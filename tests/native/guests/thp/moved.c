/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* mremap(2) moves an entry as it is where both places are aligned alike, else it splits it. */
#include "thp.h"

int main(void)
{
	char *p = hugely(2, 0), *q = area();

	touch(p, 2 * HUGE);
	SAY(SYS(mremap, p, 2 * MIB2, 2 * MIB2, MREMAP_MAYMOVE | MREMAP_FIXED, q) == (long)q);
	state("moved", q, 2 * HUGE);
	FAULTS(touch(q, 2 * HUGE));
	p = area() + PAGE;
	SAY(SYS(mremap, q, 2 * MIB2, 2 * MIB2, MREMAP_MAYMOVE | MREMAP_FIXED, p) == (long)p);
	state("moved by a page more", p, 2 * HUGE);
	FAULTS(touch(p, 2 * HUGE));

	p = hugely(2, 0);
	touch(p, 2 * HUGE);
	q = area();
	SAY(SYS(mremap, p + 4 * PAGE, MIB2, MIB2, MREMAP_MAYMOVE | MREMAP_FIXED, q + 4 * PAGE) == (long)(q + 4 * PAGE));
	state("parts of two", q + 4 * PAGE, HUGE);
	state("what is left", p, 4);
	state("what is left behind", p + MIB2 + 4 * PAGE, HUGE - 4);

	p = hugely(2, 0);
	touch(p, 2 * HUGE);
	q = area();
	SAY(SYS(mremap, p, 2 * MIB2, 2 * MIB2, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, q) == (long)q);
	state("moved", q, 2 * HUGE);
	state("left", p, 2 * HUGE);
	FAULTS(touch(p, 2));
	state("filled", p, 2 * HUGE);
	SAY(SYS(mremap, q, 2 * MIB2, 3 * PAGE, 0) == (long)q);
	state("shrunk", q, 3);
	SAY(SYS(mremap, q, 3 * PAGE, 2 * MIB2, 0) == (long)q);
	FAULTS(touch(q, 2 * HUGE));
	state("grown", q, 2 * HUGE);
	return 0;
}
