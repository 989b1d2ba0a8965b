/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chroot(2): only root may; .. stays inside, an open directory is a way out. */
// needs: root
#include "native.h"

int main(void)
{
	put("outside", "x");
	MUST(mkdir, "dir", 0755);
	put("dir/inside", "x");
	int out = MUST(open, ".", O_RDONLY);
	SHOW(chroot, "missing");
	SHOW(chroot, "outside");
	SHOW(chroot, NOWHERE);
	SHOW(chroot, "");
	SHOW(chroot, "dir");
	SHOW(access, "/inside", F_OK);
	SHOW(access, "/../inside", F_OK);
	SHOW(access, "/outside", F_OK);
	SHOW(access, "outside", F_OK);
	SHOW(openat, out, "outside", O_RDONLY);
	char text[64];
	SHOW(chdir, "/");
	SHOW(getcwd, text, 64);
	print("%s\n", text);
	become(1000);
	SHOW(chroot, "/");
	SHOW(chroot, "missing");
	return 0;
}
