/* SPDX-License-Identifier: GPL-2.0-or-later */
/* renameat(2) with two directories. */
#include "native.h"

int main(void)
{
	MUST(mkdir, "d", 0755);
	MUST(mkdir, "e", 0755);
	put("d/a", "a");
	int d = MUST(open, "d", O_RDONLY), e = MUST(open, "e", O_RDONLY);
	SHOW(renameat, d, "a", e, "b");
	SHOW(renameat, d, "a", e, "b");
	SHOW(renameat, 99, "a", e, "b");
	SHOW(renameat, e, "b", 99, "b");
	SHOW(renameat, 1, "a", e, "b");
	SHOW(renameat, e, "b", d, "");
	SHOW(renameat, e, "b", d, "c/");
	return 0;
}
