/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mkdir(2) and rmdir(2): what exists, what is missing, what is not empty, dots and slashes. */
#include "native.h"

int main(void)
{
	put("file", "x");
	SHOW(mkdir, "dir", 0777);
	SHOW(mkdir, "dir", 0777);
	SHOW(mkdir, "file", 0777);
	SHOW(mkdir, "file/x", 0777);
	SHOW(mkdir, "missing/x", 0777);
	SHOW(mkdir, "", 0777);
	SHOW(mkdir, NOWHERE, 0777);
	SHOW(mkdir, ".", 0777);
	SHOW(mkdir, "dir/..", 0777);
	SHOW(mkdir, "slash///", 0700);
	SHOW(mkdir, "dir/in", 01777);
	SHOW(rmdir, "dir");
	SHOW(rmdir, "dir/.");
	SHOW(rmdir, "dir/..");
	SHOW(rmdir, "dir/in/..");
	SHOW(rmdir, ".");
	SHOW(rmdir, "..");
	SHOW(rmdir, "/");
	SHOW(rmdir, "file");
	SHOW(rmdir, "missing");
	SHOW(rmdir, "");
	SHOW(rmdir, NOWHERE);
	SHOW(rmdir, "slash/");
	return 0;
}
