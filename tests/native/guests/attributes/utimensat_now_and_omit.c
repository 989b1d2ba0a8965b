/* SPDX-License-Identifier: GPL-2.0-or-later */
/* utimensat(2): UTIME_NOW, UTIME_OMIT, bad nanoseconds, and a file by its descriptor. */
#include "native.h"

static void times(const char *path)
{
	struct stat st;

	MUST(lstat, path, &st);
	print("%s: %ld.%ld %ld.%ld\n", path, (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec,
		  st.st_mtim.tv_nsec);
}

int main(void)
{
	struct timespec t[2] = { { 5, 6 }, { 7, 8 } };
	put("file", "x");
	MUST(symlink, "file", "link");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(utimensat, AT_FDCWD, "file", t, 0);
	times("file");
	SHOW(utimensat, AT_FDCWD, "link", t, AT_SYMLINK_NOFOLLOW);
	times("link");
	t[0].tv_sec = 100, t[1].tv_nsec = UTIME_OMIT;
	SHOW(utimensat, fd, NULL, t, 0);
	times("file");
	t[0].tv_nsec = UTIME_OMIT;
	SHOW(utimensat, AT_FDCWD, "missing", t, 0);
	SHOW(utimensat, fd, NULL, t, 0);
	times("file");
	t[0].tv_nsec = 1000000000;
	SHOW(utimensat, AT_FDCWD, "file", t, 0);
	SHOW(utimensat, AT_FDCWD, "missing", t, 0);
	t[0].tv_nsec = -1;
	SHOW(utimensat, AT_FDCWD, "file", t, 0);
	t[0].tv_nsec = 0, t[1].tv_nsec = 0;
	SHOW(utimensat, AT_FDCWD, "file", t, 1);
	SHOW(utimensat, AT_FDCWD, "file", NOWHERE, 1);
	SHOW(utimensat, AT_FDCWD, "missing", t, 0);
	SHOW(utimensat, fd, NULL, t, AT_SYMLINK_NOFOLLOW);
	SHOW(utimensat, AT_FDCWD, NULL, t, 0);
	SHOW(utimensat, 99, NULL, t, 0);
	SHOW(utimensat, 99, "x", t, 0);
	SHOW(utimensat, fd, "", t, 0);
	SHOW(utimensat, fd, "", t, AT_EMPTY_PATH);
	SHOW(utimensat, AT_FDCWD, "file", NULL, 0);
	t[0].tv_sec = -5, t[1].tv_sec = 1L << 33;
	SHOW(utimensat, AT_FDCWD, "file", t, 0);
	times("file");
	return 0;
}
