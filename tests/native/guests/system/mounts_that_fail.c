/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount(2) and umount2(2): what is refused. */
// needs: root
#include "native.h"

int main(void)
{
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	SHOW(mount, "none", "missing", "tmpfs", 0, NULL);
	SHOW(mount, "none", "dir", "nonesuchfs", 0, NULL);
	SHOW(mount, "none", "dir", NULL, 0, NULL);
	SHOW(mount, "none", NOWHERE, "tmpfs", 0, NULL);
	SHOW(mount, "none", "dir", NOWHERE, 0, NULL);
	SHOW(mount, "none", "file", "tmpfs", 0, NULL);
	SHOW(umount2, "dir", 0);
	SHOW(umount2, "missing", 0);
	SHOW(umount2, "file", 0);
	SHOW(umount2, NOWHERE, 0);
	SHOW(umount2, "dir", 0x100);
	SHOW(umount2, "", 0);
	SHOW(mount, "none", "dir", "tmpfs", 0, NULL);
	SHOW(open, "dir/x", O_RDWR | O_CREAT, 0600);
	SHOW(umount2, "dir", 0);
	SHOW(close, 3);
	SHOW(umount2, "dir", 0);
	SHOW(access, "dir/x", F_OK);
	become(1000);
	SHOW(mount, "none", "dir", "tmpfs", 0, NULL);
	SHOW(umount2, "dir", 0);
	return 0;
}
