/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* MADV_FREE, MADV_COLD and MADV_PAGEOUT of a whole huge page and of a part. */
#include "thp.h"

int main(void)
{
	char *p = hugely(1, 0);

	touch(p, HUGE);
	SHOW(madvise, p, MIB2, MADV_FREE);
	state("given up", p, HUGE);
	print("LazyFree %ld Referenced %ld\n", figure(p, "LazyFree"), figure(p, "Referenced"));
	FAULTS(p[0] = 1);
	print("LazyFree %ld Referenced %ld\n", figure(p, "LazyFree"), figure(p, "Referenced"));

	p = hugely(1, 0);
	touch(p, HUGE);
	SHOW(madvise, p + 3 * PAGE, 8 * PAGE, MADV_FREE);
	state("a part", p, HUGE);

	p = hugely(1, 0);
	touch(p, HUGE);
	SHOW(madvise, p, MIB2, MADV_COLD_);
	state("cold", p, HUGE);
	print("Referenced %ld\n", figure(p, "Referenced"));
	SHOW(madvise, p + 3 * PAGE, 8 * PAGE, MADV_COLD_);
	state("a part", p, HUGE);
	return 0;
}
