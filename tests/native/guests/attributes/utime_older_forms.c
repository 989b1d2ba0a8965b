/* SPDX-License-Identifier: GPL-2.0-or-later */
/* utime(2), utimes(2), futimesat(2). */
#include "native.h"

static void times(const char *path)
{
	struct stat st;

	MUST(stat, path, &st);
	print("%s: %ld.%ld %ld.%ld\n", path, (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec,
		  st.st_mtim.tv_nsec);
}

int main(void)
{
	long both[2] = { 11, 12 };
	struct timeval t[2] = { { 1, 2 }, { 3, 4 } };
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(utime, "file", both);
	times("file");
	SHOW(utime, "file", NULL);
	SHOW(utime, "file", NOWHERE);
	SHOW(utime, "missing", both);
	SHOW(utime, NOWHERE, both);
	SHOW(utimes, "file", t);
	times("file");
	t[0].tv_usec = 1000000;
	SHOW(utimes, "file", t);
	t[0].tv_usec = -1;
	SHOW(utimes, "missing", t);
	t[0].tv_usec = 5;
	SHOW(utimes, "missing", t);
	SHOW(utimes, "file", NOWHERE);
	SHOW(futimesat, AT_FDCWD, "file", t);
	times("file");
	SHOW(futimesat, fd, NULL, t);
	SHOW(futimesat, 99, NULL, t);
	SHOW(futimesat, 99, "file", t);
	SHOW(futimesat, AT_FDCWD, NULL, t);
	SHOW(futimesat, fd, "x", t);
	return 0;
}
