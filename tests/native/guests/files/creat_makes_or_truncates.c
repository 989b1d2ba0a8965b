/* SPDX-License-Identifier: GPL-2.0-or-later */
/* creat(2) makes an empty file, empties one that is there, and fails as open(2) does. */
#include "native.h"

int main(void)
{
	put("full", "text");
	int fd = SHOW(creat, "full", 0600);
	SHOW(read, fd, NOWHERE, 1);
	SHOW(write, fd, "ab", 2);
	SHOW(creat, "new", 0777);
	SHOW(mkdir, "dir", 0755);
	SHOW(creat, "dir", 0600);
	SHOW(creat, "missing/x", 0600);
	SHOW(creat, "full/x", 0600);
	SHOW(creat, "", 0600);
	SHOW(creat, NOWHERE, 0600);
	return 0;
}
