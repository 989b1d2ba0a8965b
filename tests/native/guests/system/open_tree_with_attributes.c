/* SPDX-License-Identifier: GPL-2.0-or-later */
/* open_tree_attr(2): a copy of a mount that is read-only from the start. */
// since: 6.15
// needs: root, namespaces
#include "native.h"

#define __NR_open_tree_attr 467

int main(void)
{
	struct { u64 set, clr, propagation, userns; } attr = { 1, 0, 0, 0 };
	MUST(unshare, 0x20000);
	MUST(mount, "none", "/", NULL, 0x44000, NULL);
	MUST(mkdir, "dir", 0755);
	MUST(mkdir, "copy", 0755);
	MUST(mount, "none", "dir", "tmpfs", 0, NULL);
	MUST(mkdir, "dir/sub", 0755);
	MUST(mount, "none", "dir/sub", "tmpfs", 0, NULL);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, NULL, 32);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 0);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 31);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 5000);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 4, &attr, 32);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0x8000, &attr, 32);
	SHOW(open_tree_attr, AT_FDCWD, "nothing", 0, &attr, 32);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 1, NOWHERE, 32);
	attr.set = 1UL << 60;
	SHOW(open_tree_attr, AT_FDCWD, "dir", 1, &attr, 32);
	attr.set = 1;
	SHOW(open_tree_attr, AT_FDCWD, "dir/sub/..", 0, NULL, 0);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 1 | O_CLOEXEC, &attr, 32);
	SHOW(openat, 4, "file", O_CREAT | O_RDWR, 0600);
	SHOW(open, "dir/file", O_CREAT | O_RDWR, 0600);
	SHOW(close, 5);
	SHOW(fcntl, 4, F_GETFD);
	SHOW(fcntl, 3, F_GETFD);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 1 | 0x8000, &attr, 32);
	SHOW(move_mount, 5, "", AT_FDCWD, "copy", 4);
	SHOW(open, "copy/more", O_CREAT | O_RDWR, 0600);
	SHOW(open, "copy/sub/more", O_CREAT | O_RDWR, 0600);
	SHOW(open, "dir/sub/more", O_CREAT | O_RDWR, 0600);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(open, "dir/again", O_CREAT | O_RDWR, 0600);
	become(1000);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 1, &attr, 32);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(open_tree_attr, AT_FDCWD, "dir", 0, &attr, 31);
	return 0;
}
