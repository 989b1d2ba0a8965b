/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls on names, by chance; the result of each, and of stat(2) after it. */
#define WHOLE_LINES
#include "native.h"

static const char *const names[] = { "a", "b", "c", "a/a", "a/b", "b/a", "b/b", "c/a", "a/a/a", "a/b/b", "b/a/c", "a/../b", "c/.", "a/", "b/a/", "a/..", ".", "l", "l/a", "a/l" };
#define NAME names[chance(COUNT(names))]
static long one(void)
{
	const char *x = NAME, *y = NAME;
	char text[16];
	long fd, result;

	switch (chance(17)) {
	case 0:
		return SYS(mkdir, x, 0755);
	case 1:
	case 2:
		return SYS(mkdir, x, 0700);
	case 3:
		return SYS(rmdir, x);
	case 4:
		return SYS(unlink, x);
	case 5:
		return SYS(rename, x, y);
	case 6:
		return SYS(link, x, y);
	case 7:
		return SYS(symlink, chance(2) ? "a" : "../b", x);
	case 8:
		return SYS(readlink, x, text, 16);
	case 9:
		return SYS(renameat2, AT_FDCWD, x, AT_FDCWD, y, 1 + chance(2));
	case 10:
		return SYS(truncate, x, chance(100));
	case 11:
		return SYS(chmod, x, 0700 + chance(64));
	case 12:
		return SYS(mknod, x, S_IFIFO | 0600, 0);
	case 13:
		fd = SYS(open, x, O_RDWR | O_CREAT | (chance(2) ? O_EXCL : 0) | O_NONBLOCK, 0640);
		if (fd >= 0) {
			result = SYS(pwrite64, fd, "text", chance(4), chance(10));
			MUST(close, fd);
			return result;
		}
		return fd;
	case 14:
		fd = SYS(open, x, O_RDONLY | O_DIRECTORY | (chance(2) ? O_NOFOLLOW : 0));
		if (fd >= 0) {
			result = SYS(unlinkat, fd, "a", chance(2) ? AT_REMOVEDIR : 0);
			MUST(close, fd);
			return result;
		}
		return fd;
	case 15:
		return SYS(linkat, AT_FDCWD, x, AT_FDCWD, y, chance(2) ? AT_SYMLINK_FOLLOW : 0);
	default:
		return SYS(access, x, chance(8));
	}
}

int main(void)
{
	MUST(mkdir, "top", 0755);
	MUST(chdir, "top");
	for (int line = 0; line < 150; line++) {
		for (int i = 0; i < 15; i++) {
			const char *x = NAME;
			struct stat st;
			long result = one();

			print("%ld", result);
			result = chance(2) ? SYS(stat, x, &st) : SYS(lstat, x, &st);
			if (result)
				print("/%ld ", result);
			else
				print("/%o.%ld.%ld ", st.st_mode, (long)st.st_nlink, S_ISREG(st.st_mode) ? (long)st.st_size : 0);
		}
		print("\n");
	}
	return 0;
}
