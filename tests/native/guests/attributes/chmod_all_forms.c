/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chmod(2), fchmod(2), fchmodat(2), fchmodat2(2): bits, names, flags. */
// since: 6.6
#include "native.h"

int main(void)
{
	put("file", "x");
	MUST(symlink, "file", "link");
	MUST(symlink, "nothing", "dangling");
	int fd = MUST(open, "file", O_RDONLY), path = MUST(open, "file", O_PATH);
	SHOW(chmod, "file", 07777);
	SHOW(chmod, "file", 0170644);
	SHOW(chmod, "missing", 0644);
	SHOW(chmod, "dangling", 0644);
	SHOW(chmod, "", 0644);
	SHOW(chmod, NOWHERE, 0644);
	SHOW(chmod, "file/x", 0644);
	SHOW(fchmod, fd, 0600);
	SHOW(fchmod, path, 0600);
	SHOW(fchmod, 99, 0600);
	SHOW(fchmodat, AT_FDCWD, "link", 0640);
	SHOW(fchmodat, 99, "link", 0640);
	SHOW(fchmodat, fd, "x", 0640);
	SHOW(fchmodat2, AT_FDCWD, "file", 0611, 0);
	SHOW(fchmodat2, AT_FDCWD, "file", 0611, 1);
	SHOW(fchmodat2, 99, NOWHERE, 0611, 1);
	SHOW(fchmodat2, AT_FDCWD, "link", 0611, AT_SYMLINK_NOFOLLOW);
	SHOW(fchmodat2, fd, "", 0622, AT_EMPTY_PATH);
	SHOW(fchmodat2, fd, "", 0622, 0);
	SHOW(fchmodat2, path, "", 0633, AT_EMPTY_PATH);
	return 0;
}
