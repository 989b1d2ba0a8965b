/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symbolic links in the middle of paths, dots after them, trailing slashes. */
#include "native.h"

int main(void)
{
	char text[16] = "";
	MUST(mkdir, "a", 0755);
	MUST(mkdir, "a/b", 0755);
	put("a/file", "in a");
	put("file", "top");
	MUST(symlink, "a/b", "link");
	MUST(symlink, "../file", "a/up");
	MUST(symlink, "link/", "slash");
	MUST(symlink, ".", "dot");
	cat("link/../file");
	cat("a/up");
	cat("dot/dot/a/./b/../../file");
	cat("a//file");
	SHOW(readlink, "slash", text, 16);
	SHOW(readlink, "slash/", text, 16);
	SHOW(open, "link/", O_RDONLY | O_DIRECTORY);
	SHOW(open, "link", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	SHOW(open, "link/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	SHOW(open, "file/..", O_RDONLY);
	SHOW(open, "missing/..", O_RDONLY);
	SHOW(mkdir, "link/new", 0755);
	SHOW(rmdir, "link");
	SHOW(rmdir, "slash/");
	SHOW(unlink, "a/file/");
	SHOW(rename, "slash", "renamed");
	SHOW(rename, "a/b/new/", "a/moved/");
	return 0;
}
