/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file without names lives while it is open; directories and what is missing are errors. */
#include "native.h"

int main(void)
{
	char text[8] = "";
	struct stat st;
	put("file", "abc");
	int fd = MUST(open, "file", O_RDWR);
	SHOW(unlink, "file");
	SHOW(unlink, "file");
	MUST(fstat, fd, &st);
	print("links %ld, size %ld\n", (long)st.st_nlink, (long)st.st_size);
	SHOW(read, fd, text, 8);
	print("%s\n", text);
	MUST(mkdir, "dir", 0755);
	SHOW(unlink, "dir");
	SHOW(unlink, "dir/");
	SHOW(unlink, ".");
	SHOW(unlink, "..");
	SHOW(unlink, "/");
	SHOW(unlink, "");
	SHOW(unlink, NOWHERE);
	put("plain", "x");
	SHOW(unlink, "plain/");
	SHOW(unlink, "plain/x");
	MUST(symlink, "dir", "link");
	SHOW(unlink, "link/");
	SHOW(unlink, "link");
	return 0;
}
