/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mremap(2): growing, shrinking, moving, and what it refuses. */
#include "native.h"

int main(void)
{
	char *p = anonymous(4 * PAGE, MAP_PRIVATE), *q = anonymous(4 * PAGE, MAP_PRIVATE), *r;
	p[0] = 7;
	MUST(munmap, q, 4 * PAGE);
	SAY(SYS(mremap, p, 4 * PAGE, 2 * PAGE, 0) == (long)p);
	r = (void *)MUST(mremap, p, 2 * PAGE, PAGE * 16, MREMAP_MAYMOVE);
	SAY(r[0]);
	SHOW(mremap, r + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, r, PAGE, 0, MREMAP_MAYMOVE);
	SHOW(mremap, r, PAGE, PAGE, 8);
	SHOW(mremap, r, PAGE, PAGE, MREMAP_FIXED, q);
	SHOW(mremap, r, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + 1);
	SHOW(mremap, r, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r);
	SHOW(mremap, r, 0, PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, 1UL << 40, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, r, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, r, PAGE * 16, 1UL << 47, MREMAP_MAYMOVE);
	SHOW(mremap, r, PAGE, 17 * PAGE, 0);
	SAY(SYS(mremap, r, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == (long)q);
	SAY(q[0]);
	SHOW(mremap, r, PAGE, PAGE, 0);
	SHOW(mremap, q, PAGE, 2 * PAGE, 4);
	SHOW(mremap, q, PAGE, 2 * PAGE, MREMAP_MAYMOVE | 4);
	char *s = (void *)MUST(mremap, q, PAGE, PAGE, MREMAP_MAYMOVE | 4);
	SAY(s != q && s[0] == 7 && q[0] == 0);
	char *shared = anonymous(PAGE, MAP_SHARED);
	shared[0] = 5;
	char *other = (void *)MUST(mremap, shared, 0, PAGE, MREMAP_MAYMOVE);
	SAY(other[0]);
	return 0;
}
