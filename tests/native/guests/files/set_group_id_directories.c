/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is made in a set-group-ID directory has its group, and a directory the bit. */
// needs: root
#include "native.h"

int main(void)
{
	struct stat st;
	MUST(umask, 0);
	MUST(mkdir, "dir", 0777);
	MUST(chown, "dir", 0, 50);
	MUST(chmod, "dir", 02777);
	put("dir/file", "x");
	MUST(mkdir, "dir/sub", 0755);
	MUST(symlink, "x", "dir/link");
	MUST(mknod, "dir/fifo", S_IFIFO | 0644, 0);
	put("elsewhere", "x");
	SHOW(rename, "elsewhere", "dir/moved");
	become(1000);
	SHOW(open, "dir/mine", O_RDWR | O_CREAT, 02777);
	SHOW(chmod, "dir/mine", 02777);
	MUST(stat, "dir/mine", &st);
	print("%o %u\n", st.st_mode, st.st_gid);
	SHOW(mkdir, "dir/mysub", 0700);
	return 0;
}
