/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mincore(2): which pages are present. */
#include "native.h"

int main(void)
{
	u8 v[8];
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	p[0] = p[2 * PAGE] = 1;
	SHOW(mincore, p, 4 * PAGE, v);
	print("%d %d %d %d\n", v[0] & 1, v[1] & 1, v[2] & 1, v[3] & 1);
	SHOW(mincore, p + 1, PAGE, v);
	SHOW(mincore, p, 4 * PAGE, NOWHERE);
	SHOW(mincore, p, 0, NOWHERE);
	SHOW(mincore, -PAGE, 2 * PAGE, v);
	SHOW(mincore, p, 1UL << 50, v);
	MUST(munmap, p + PAGE, PAGE);
	SHOW(mincore, p, 4 * PAGE, v);
	SHOW(mincore, p + 2 * PAGE, 1, v);
	return 0;
}
