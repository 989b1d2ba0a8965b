/* SPDX-License-Identifier: GPL-2.0-or-later */
/* O_TMPFILE: a file without a name, which linkat(2) may give it. */
// needs: proc
#include "native.h"

int main(void)
{
	struct stat st;
	int fd = SHOW(open, ".", O_RDWR | O_TMPFILE, 0640);
	SHOW(write, fd, "hidden", 6);
	MUST(fstat, fd, &st);
	print("%ld %o\n", (long)st.st_nlink, st.st_mode);
	SHOW(linkat, AT_FDCWD, "/proc/self/fd/3", AT_FDCWD, "name", AT_SYMLINK_FOLLOW);
	SHOW(linkat, AT_FDCWD, "/proc/self/fd/3", AT_FDCWD, "name", AT_SYMLINK_FOLLOW);
	MUST(fstat, fd, &st);
	SAY(st.st_nlink);
	int excl = SHOW(open, ".", O_RDWR | O_TMPFILE | O_EXCL, 0600);
	SHOW(linkat, AT_FDCWD, "/proc/self/fd/4", AT_FDCWD, "other", AT_SYMLINK_FOLLOW);
	SHOW(open, "missing", O_RDWR | O_TMPFILE, 0600);
	SHOW(open, "name", O_RDWR | O_TMPFILE, 0600);
	SHOW(open, ".", O_RDWR | O_CREAT | O_TMPFILE, 0600);
	(void)excl;
	return 0;
}
