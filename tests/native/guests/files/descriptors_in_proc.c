/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/self/fd: opening again, reading links, files without names. */
// needs: proc
#include "native.h"

int main(void)
{
	char text[64];
	struct stat st;
	put("file", "text");
	int fd = MUST(open, "file", O_RDONLY), fds[2];
	MUST(pipe2, fds, 0);
	SHOW(lseek, fd, 2, SEEK_SET);
	int again = SHOW(open, "/proc/self/fd/3", O_RDWR);
	SHOW(lseek, again, 0, SEEK_CUR);
	SHOW(unlink, "file");
	SHOW(open, "/proc/self/fd/3", O_RDONLY);
	long n = MUST(readlink, "/proc/self/fd/3", text, 64);
	text[n < 64 ? n : 63] = 0;
	print("%s\n", text + n - 15);
	SHOW(open, "/proc/self/fd/99", O_RDONLY);
	SHOW(open, "/proc/self/fd/x", O_RDONLY);
	SHOW(readlink, "/proc/self/fd/99", text, 64);
	SHOW(open, "/proc/self/fd/4", O_WRONLY | O_NONBLOCK);
	SHOW(stat, "/proc/self/fd/4", &st);
	print("%o\n", st.st_mode & S_IFMT);
	SHOW(lstat, "/proc/self/fd/4", &st);
	print("%o\n", st.st_mode & S_IFMT);
	SHOW(unlink, "/proc/self/fd/4");
	SHOW(symlink, "x", "/proc/self/fd/77");
	return 0;
}
