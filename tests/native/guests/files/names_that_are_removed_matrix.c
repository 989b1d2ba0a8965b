/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unlinkat(2), mkdirat(2), symlinkat(2), mknodat(2), readlinkat(2), fchmodat(2), faccessat(2), each with each name. */
#include "native.h"

static const char *const paths[] = { NOWHERE, "", "file", "dir", "full", "link", "dangling", "loop", "missing", "missing/", "missing/x", "file/x", "file/", "dir/", "link/", ".", "..", "dir/..", "/", "full/../missing", "dangling/", "loop/x" };
#define TRY(undo, name, ...)																  \
	do {																					  \
		long result = SYS(name, ##__VA_ARGS__);											   \
		print(" %s", result_name(result));													\
		if (result == 0)																	  \
			undo;																			 \
	} while (0)
static void all(int dir, const char *path)
{
	char text[64];
	struct stat st;

	TRY((void)0, faccessat, dir, path, 0);
	TRY((void)0, faccessat2, dir, path, 0, AT_SYMLINK_NOFOLLOW);
	TRY((void)0, newfstatat, dir, path, &st, 0);
	TRY((void)0, newfstatat, dir, path, &st, AT_SYMLINK_NOFOLLOW);
	TRY((void)0, readlinkat, dir, path, text, 64);
	TRY((void)0, fchmodat, dir, path, 0755);
	TRY((void)0, utimensat, dir, path, NULL, 0);
	TRY((void)0, fchownat, dir, path, -1, -1, AT_SYMLINK_NOFOLLOW);
	TRY(SYS(unlinkat, dir, path, AT_REMOVEDIR), mkdirat, dir, path, 0755);
	TRY(SYS(unlinkat, dir, path, 0), symlinkat, "x", dir, path);
	TRY(SYS(unlinkat, dir, path, 0), mknodat, dir, path, S_IFREG | 0600, 0);
	TRY(SYS(unlinkat, dir, path, 0), mknodat, dir, path, S_IFIFO | 0600, 0);
	if (!(path > (char *)PAGE && path[0] == '.' && path[1] == '.') && !(path > (char *)PAGE && path[0] == '/')) {
		TRY(put("file", "x"); SYS(symlink, "file", "link"); SYS(symlink, "nothing", "dangling"); SYS(symlink, "loop", "loop"), unlinkat, dir, path, 0);
		TRY(SYS(mkdir, "dir", 0755), unlinkat, dir, path, AT_REMOVEDIR);
	}
	print("\n");
}

int main(void)
{
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	MUST(mkdir, "full", 0755);
	put("full/in", "x");
	MUST(symlink, "file", "link");
	MUST(symlink, "nothing", "dangling");
	MUST(symlink, "loop", "loop");
	int fd = MUST(open, "file", O_RDONLY);
	for (u32 p = 0; p < COUNT(paths); p++) {
		print("%s:", p ? paths[p] : "(bad)");
		all(AT_FDCWD, paths[p]);
		print("   file:");
		all(fd, paths[p]);
		print("   none:");
		all(99, paths[p]);
	}
	return 0;
}
