/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2), fspick(2), mount_setattr(2) of a tmpfs. */
// needs: root
#include "native.h"

int main(void)
{
	#define SET_STRING 1
	#define CREATE 6
	#define RECONFIGURE 7
	struct { u64 set, clr, propagation, userns; } attr = { 1, 0, 0, 0 };
	MUST(mkdir, "dir", 0755);
	put("file", "x");
	SHOW(fsopen, "nonesuchfs", 0);
	SHOW(fsopen, "tmpfs", 16);
	SHOW(fsopen, NOWHERE, 0);
	int fs = SHOW(fsopen, "tmpfs", 1);
	SHOW(fsconfig, fs, SET_STRING, "size", "1m", 0);
	SHOW(fsconfig, fs, SET_STRING, "nonesuch", "1", 0);
	SHOW(fsconfig, fs, SET_STRING, NULL, "1", 0);
	SHOW(fsconfig, fs, 99, "size", "1m", 0);
	SHOW(fsconfig, 99, SET_STRING, "size", "1m", 0);
	SHOW(fsmount, fs, 0, 0);
	SHOW(fsconfig, fs, CREATE, NULL, NULL, 0);
	SHOW(fsconfig, fs, CREATE, NULL, NULL, 0);
	SHOW(fsmount, fs, 2, 0);
	SHOW(fsmount, 99, 0, 0);
	int mnt = SHOW(fsmount, fs, 0, 0);
	SHOW(move_mount, mnt, "", AT_FDCWD, "missing", 4);
	SHOW(move_mount, mnt, "", AT_FDCWD, "file", 4);
	SHOW(move_mount, mnt, "", AT_FDCWD, "dir", 0);
	SHOW(move_mount, 99, "", AT_FDCWD, "dir", 4);
	SHOW(move_mount, mnt, "", AT_FDCWD, "dir", 4);
	SHOW(open, "dir/inside", O_RDWR | O_CREAT, 0600);
	SHOW(open_tree, AT_FDCWD, "missing", 0);
	SHOW(open_tree, AT_FDCWD, "dir", 4);
	int tree = SHOW(open_tree, AT_FDCWD, "dir", 0);
	SHOW(openat, tree, "inside", O_RDONLY);
	int copy = SHOW(open_tree, AT_FDCWD, "dir", 1);
	SHOW(openat, copy, "inside", O_RDONLY);
	SHOW(fspick, AT_FDCWD, "file", 0);
	SHOW(fspick, AT_FDCWD, "dir", 16);
	int pick = SHOW(fspick, AT_FDCWD, "dir", 0);
	SHOW(fsconfig, pick, RECONFIGURE, NULL, NULL, 0);
	SHOW(mount_setattr, AT_FDCWD, "dir", 0, &attr, 31);
	SHOW(mount_setattr, AT_FDCWD, "file", 0, &attr, 32);
	SHOW(mount_setattr, AT_FDCWD, "dir", 0x10, &attr, 32);
	SHOW(mount_setattr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(open, "dir/more", O_RDWR | O_CREAT, 0600);
	MUST(close_range, 3, 100, 0);
	SHOW(umount2, "dir", 0);
	SHOW(access, "dir/inside", 0);
	SHOW(pivot_root, "missing", "dir");
	SHOW(pivot_root, "dir", "missing");
	SHOW(pivot_root, "dir", "file");
	become(1000);
	SHOW(fsopen, "tmpfs", 0);
	SHOW(pivot_root, "dir", "dir");
	SHOW(move_mount, AT_FDCWD, "dir", AT_FDCWD, "dir", 0);
	SHOW(mount_setattr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(fspick, AT_FDCWD, "dir", 0);
	return 0;
}
