/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mknod(2) and mknodat(2): kinds of files, and which only root makes. */
// needs: root
#include "native.h"

int main(void)
{
	struct stat st;
	MUST(umask, 0);
	SHOW(mknod, "fifo", S_IFIFO | 0644, 0);
	SHOW(mknod, "plain", 0600, 0);
	SHOW(mknod, "regular", S_IFREG | 0600, 0);
	SHOW(mknod, "socket", S_IFSOCK | 0600, 0);
	SHOW(mknod, "null", S_IFCHR | 0666, 0x103);
	SHOW(mknod, "block", S_IFBLK | 0600, 0x700);
	SHOW(mknod, "dir", S_IFDIR | 0600, 0);
	SHOW(mknod, "link", S_IFLNK | 0600, 0);
	SHOW(mknod, "odd", 0170000, 0);
	SHOW(mknod, "fifo", S_IFIFO | 0644, 0);
	SHOW(mknod, "missing/x", S_IFIFO | 0644, 0);
	SHOW(mknod, "x/", S_IFREG | 0644, 0);
	SHOW(mknod, "", S_IFIFO, 0);
	SHOW(mknod, NOWHERE, S_IFIFO, 0);
	MUST(stat, "null", &st);
	print("%o %lx\n", st.st_mode, (long)st.st_rdev);
	SHOW(open, "null", O_RDWR);
	SHOW(open, "socket", O_RDWR);
	SHOW(mknodat, AT_FDCWD, "at", S_IFIFO | 0600, 0);
	SHOW(mknodat, 99, "at", S_IFIFO | 0600, 0);
	SHOW(mknodat, 99, "at", S_IFDIR | 0600, 0);
	SHOW(mknodat, 1, "at", S_IFIFO | 0600, 0);
	MUST(chmod, ".", 0777);
	become(1000);
	SHOW(mknod, "mine", S_IFCHR | 0666, 0x103);
	SHOW(mknod, "mine", S_IFBLK | 0666, 0x103);
	SHOW(mknod, "mine", S_IFIFO | 0600, 0);
	SHOW(mknod, "fifo", S_IFCHR | 0600, 0);
	return 0;
}
