/* SPDX-License-Identifier: GPL-2.0-or-later */
/* renameat2(2): NOREPLACE, EXCHANGE and what cannot go together. */
#include "native.h"

#define NOREPLACE 1
#define EXCHANGE 2
#define WHITEOUT 4

int main(void)
{
	put("a", "a");
	put("b", "b");
	MUST(mkdir, "d", 0755);
	int d = MUST(open, "d", O_RDONLY);
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "b", NOREPLACE);
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "b", EXCHANGE);
	cat("a");
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "d", EXCHANGE);
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "missing", EXCHANGE);
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "b", EXCHANGE | NOREPLACE);
	SHOW(renameat2, AT_FDCWD, "a", AT_FDCWD, "b", EXCHANGE | WHITEOUT);
	SHOW(renameat2, 99, NOWHERE, 99, NOWHERE, 8);
	SHOW(renameat2, 99, "a", AT_FDCWD, "b", 0);
	SHOW(renameat2, AT_FDCWD, "a", 99, "b", 0);
	SHOW(renameat2, AT_FDCWD, "d", d, "inside", NOREPLACE);
	SHOW(renameat2, AT_FDCWD, "d", d, "inside", 0);
	SHOW(renameat2, AT_FDCWD, "b", AT_FDCWD, "c", NOREPLACE);
	SHOW(renameat2, AT_FDCWD, "..", AT_FDCWD, "c", NOREPLACE);
	return 0;
}
