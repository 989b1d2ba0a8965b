/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* munmap(2) and MADV_DONTNEED of a whole huge page, and of a part, which splits it. */
#include "thp.h"

int main(void)
{
	char *p = hugely(3, 0);

	touch(p, 3 * HUGE);
	state("written", p, 3 * HUGE);
	SHOW(madvise, p + 100 * PAGE, 10 * PAGE, MADV_DONTNEED);
	state("ten pages gone", p, 3 * HUGE);
	FAULTS(touch(p + 100 * PAGE, 10));
	print("%d %d\n", p[99 * PAGE], p[111 * PAGE]);
	SHOW(madvise, p + MIB2, MIB2, MADV_DONTNEED);
	state("the second gone", p, 3 * HUGE);
	FAULTS(touch(p + MIB2, 2));
	state("the second again", p, 3 * HUGE);
	SHOW(madvise, p + 500 * PAGE, 600 * PAGE, MADV_DONTNEED);
	state("over two borders", p, 3 * HUGE);

	p = hugely(3, 0);
	touch(p, 3 * HUGE);
	SHOW(munmap, p + 500 * PAGE, 24 * PAGE);
	state("a hole", p, 500);
	state("behind it", p + 524 * PAGE, 3 * HUGE - 524);
	SHOW(munmap, p + 2 * MIB2, MIB2);
	state("without the last", p + 524 * PAGE, 2 * HUGE - 524);
	SHOW(munmap, p, 3 * MIB2);
	print("tables %ld\n", status("VmPTE") - thp_tables);
	return 0;
}
