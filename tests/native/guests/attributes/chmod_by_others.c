/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Only the owner changes bits; set-group-ID goes where the group is not the owner's. */
// needs: root
#include "native.h"

int main(void)
{
	MUST(umask, 0);
	put("file", "x");
	put("mine", "x");
	MUST(mkdir, "dir", 0777);
	MUST(chown, "mine", 1000, 7);
	MUST(chown, "dir", 1000, 7);
	MUST(chmod, "mine", 06777);
	int fd = MUST(open, "file", O_RDONLY);
	become(1000);
	SHOW(chmod, "file", 0600);
	SHOW(fchmod, fd, 0600);
	SHOW(fchmodat, AT_FDCWD, "file", 0600);
	SHOW(chmod, "mine", 06755);
	SHOW(chmod, "dir", 02755);
	SHOW(chmod, "dir", 01777);
	return 0;
}
