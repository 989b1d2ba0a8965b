/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount_setattr(2) makes a mount read-only, and writable again. */
// needs: root
#include "native.h"

int main(void)
{
	struct { u64 set, clr, propagation, userns; } attr = { 1, 0, 0, 0 };
	MUST(mkdir, "dir", 0755);
	SHOW(mount, "none", "dir", "tmpfs", 0, NULL);
	SHOW(mount_setattr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(open, "dir/more", O_RDWR | O_CREAT, 0600);
	attr.set=0; attr.clr=1;
	SHOW(mount_setattr, AT_FDCWD, "dir", 0, &attr, 32);
	SHOW(open, "dir/more", O_RDWR | O_CREAT, 0600);
	SHOW(close,3);
	SHOW(umount2, "dir", 0);
	return 0;
}
