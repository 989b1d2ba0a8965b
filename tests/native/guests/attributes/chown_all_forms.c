/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chown(2), fchown(2), lchown(2), fchownat(2): -1 leaves an id, set-id bits go. */
// needs: root
#include "native.h"

int main(void)
{
	put("file", "x");
	MUST(symlink, "file", "link");
	MUST(mkdir, "dir", 06755);
	int fd = MUST(open, "file", O_RDONLY);
	MUST(chmod, "file", 06755);
	MUST(chmod, "dir", 06755);
	SHOW(chown, "dir", 3, 4);
	SHOW(chown, "file", -1, -1);
	SHOW(chown, "link", 1, 2);
	SHOW(lchown, "link", 5, -1);
	SHOW(fchown, fd, -1, 7);
	SHOW(fchown, 99, 0, 0);
	SHOW(fchownat, AT_FDCWD, "link", 8, 8, AT_SYMLINK_NOFOLLOW);
	SHOW(fchownat, AT_FDCWD, "link", 9, 9, 1);
	SHOW(fchownat, fd, "", 10, -1, AT_EMPTY_PATH);
	SHOW(fchownat, fd, "", 10, -1, 0);
	SHOW(fchownat, 99, "file", 0, 0, 0);
	SHOW(fchownat, 99, NOWHERE, 0, 0, 1);
	SHOW(chown, "missing", 0, 0);
	SHOW(lchown, "missing", 0, 0);
	SHOW(chown, "", 0, 0);
	SHOW(chown, NOWHERE, 0, 0);
	SHOW(lchown, "file/x", 0, 0);
	MUST(chmod, "file", 02644);
	SHOW(chown, "file", 0, 0);
	become(1000);
	SHOW(chown, "file", 1000, -1);
	SHOW(chown, "file", -1, -1);
	SHOW(lchown, "link", 1000, 1000);
	SHOW(fchown, fd, 1000, 1000);
	return 0;
}
