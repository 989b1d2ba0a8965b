/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2) as root. */
// needs: root
#include "native.h"

int main(void)
{
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	u8 v[4];
	SHOW(mlock, p, 4 * PAGE);
	SHOW(mincore, p, 4 * PAGE, v);
	print("%d %d\n", v[0] & 1, v[3] & 1);
	SHOW(munlock, p, 4 * PAGE);
	SHOW(mlock, p + 1, PAGE);
	SHOW(mlock, p, 0);
	SHOW(mlock, p, -1UL);
	SHOW(mlock, 1UL << 46, -PAGE);
	SHOW(mlock2, p, PAGE, MLOCK_ONFAULT);
	SHOW(mlock2, p, PAGE, 2);
	MUST(munmap, p + PAGE, PAGE);
	SHOW(mlock, p, 4 * PAGE);
	SHOW(mlock2, p, 4 * PAGE, 0);
	SHOW(munlock, p, 4 * PAGE);
	SHOW(munlock, p + PAGE, PAGE);
	SHOW(mlockall, MCL_CURRENT);
	SHOW(mlockall, 0);
	SHOW(mlockall, MCL_ONFAULT);
	SHOW(mlockall, 8);
	SHOW(munlockall);
	return 0;
}
