/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rename(2): what may replace what. */
#include "native.h"

int main(void)
{
	put("a", "a");
	put("b", "b");
	MUST(mkdir, "d", 0755);
	MUST(mkdir, "e", 0755);
	MUST(mkdir, "e/f", 0755);
	SHOW(rename, "a", "b");
	cat("b");
	SHOW(rename, "b", "d");
	SHOW(rename, "d", "b");
	SHOW(rename, "d", "e");
	SHOW(rename, "d", "e/f");
	SHOW(rename, "e", "e/f/g");
	SHOW(rename, "e/f", "e");
	SHOW(rename, "e", "e/f");
	SHOW(rename, "missing", "x");
	SHOW(rename, "missing", "missing/x");
	SHOW(rename, "b", "missing/x");
	SHOW(rename, "b", "b/x");
	SHOW(rename, "b", "b");
	SHOW(rename, "", "x");
	SHOW(rename, "b", "");
	SHOW(rename, NOWHERE, "x");
	SHOW(rename, "b", NOWHERE);
	SHOW(rename, ".", "x");
	SHOW(rename, "b", ".");
	SHOW(rename, "e/..", "x");
	SHOW(rename, "b", "x/");
	SHOW(rename, "e", "x/");
	SHOW(rename, "b", "/proc/x");
	return 0;
}
