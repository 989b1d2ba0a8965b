/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What O_PATH allows: fstat, fchdir, dup, *at calls; and what it does not. */
#include "native.h"

int main(void)
{
	struct stat st;
	char text[8];
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	put("dir/in", "x");
	int f = SHOW(open, "file", O_PATH), d = SHOW(open, "dir", O_PATH | O_DIRECTORY);
	SHOW(open, "file", O_PATH | O_DIRECTORY);
	SHOW(open, "missing", O_PATH | O_CREAT, 0600);
	SHOW(read, f, text, 1);
	SHOW(fstat, f, &st);
	SHOW(fchmod, f, 0600);
	SHOW(fchown, f, 0, 0);
	SHOW(ftruncate, f, 0);
	SHOW(ioctl, f, 0x5401, text);
	SHOW(fsync, f);
	SHOW(dup, f);
	SHOW(fcntl, f, F_GETFD);
	SHOW(lseek, f, 0, SEEK_SET);
	SHOW(openat, d, "in", O_RDONLY);
	SHOW(openat, f, "in", O_RDONLY);
	SHOW(fchdir, d);
	SHOW(fchdir, f);
	SHOW(getdents64, d, text, 8);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, f, 0);
	SHOW(close, f);
	return 0;
}
