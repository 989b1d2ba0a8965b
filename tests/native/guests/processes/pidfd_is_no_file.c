/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.17
/* What calls on files say of a pidfd, which has a regular inode and no operations of one. */
#include "native.h"

int main(void)
{
	char byte[1];
	struct stat st;
	long me = MUST(getpid), fd = MUST(pidfd_open, me, 0);

	SHOW(ftruncate, fd, 0);
	SHOW(fallocate, fd, 0, 0, PAGE);
	SHOW(sync_file_range, fd, 0, 10, 0);
	SHOW(fsync, fd);
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(read, fd, byte, 1);
	SHOW(write, fd, byte, 1);
	SHOW(fchmod, fd, 0600);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	MUST(fstat, fd, &st);
	print("mode %o, %d links\n", st.st_mode, (int)st.st_nlink);
	return 0;
}
