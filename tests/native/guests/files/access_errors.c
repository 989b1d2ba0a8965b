/* SPDX-License-Identifier: GPL-2.0-or-later */
/* access(2), faccessat(2) and faccessat2(2): arguments. */
#include "native.h"

int main(void)
{
	put("file", "x");
	MUST(symlink, "missing", "s");
	int dir = MUST(open, ".", O_RDONLY);
	SHOW(access, "file", F_OK);
	SHOW(access, "file", 8);
	SHOW(access, NOWHERE, 8);
	SHOW(access, "missing", F_OK);
	SHOW(access, "file/x", F_OK);
	SHOW(access, "", F_OK);
	SHOW(faccessat, dir, "file", R_OK);
	SHOW(faccessat, 99, "file", R_OK);
	SHOW(faccessat, dir, "file", 16);
	SHOW(faccessat, dir, "s", F_OK);
	SHOW(faccessat2, dir, "s", F_OK, AT_SYMLINK_NOFOLLOW);
	SHOW(faccessat2, dir, "s", F_OK, 0);
	SHOW(faccessat2, dir, "file", R_OK, AT_EACCESS);
	SHOW(faccessat2, dir, "", R_OK, AT_EMPTY_PATH);
	SHOW(faccessat2, dir, "", R_OK, 0);
	SHOW(faccessat2, dir, "file", R_OK, 1);
	SHOW(faccessat2, 99, NOWHERE, 8, 1);
	return 0;
}
