/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The forms of 6.13 that begin at a directory. */
// since: 6.13
#include "native.h"

int main(void)
{
	struct { u64 value; u32 size, flags; } args = { (u64)"one", 3, 0 };
	char text[16];
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(setxattrat, AT_FDCWD, "file", 0, "user.a", &args, sizeof(args));
	SHOW(setxattrat, fd, "", AT_EMPTY_PATH, "user.b", &args, sizeof(args));
	SHOW(setxattrat, fd, "", 0, "user.b", &args, sizeof(args));
	SHOW(setxattrat, AT_FDCWD, "file", 1, "user.a", &args, sizeof(args));
	SHOW(setxattrat, AT_FDCWD, "file", 0, "user.a", &args, 8);
	SHOW(setxattrat, 99, "file", 0, "user.a", &args, sizeof(args));
	args.flags = 1;
	SHOW(setxattrat, AT_FDCWD, "file", 0, "user.a", &args, sizeof(args));
	args.flags = 0, args.value = (u64)text, args.size = 16;
	SHOW(getxattrat, AT_FDCWD, "file", 0, "user.a", &args, sizeof(args));
	SHOW(getxattrat, AT_FDCWD, "file", 0, "user.z", &args, sizeof(args));
	SHOW(getxattrat, AT_FDCWD, "missing", 0, "user.a", &args, sizeof(args));
	args.flags = 1;
	SHOW(getxattrat, AT_FDCWD, "file", 0, "user.a", &args, sizeof(args));
	SHOW(listxattrat, AT_FDCWD, "file", 0, text, 16);
	SHOW(listxattrat, AT_FDCWD, "file", 0, text, 1);
	SHOW(listxattrat, AT_FDCWD, "file", 1, text, 1);
	SHOW(listxattrat, fd, "", AT_EMPTY_PATH, NULL, 0);
	SHOW(removexattrat, AT_FDCWD, "file", 0, "user.a");
	SHOW(removexattrat, AT_FDCWD, "file", 0, "user.a");
	SHOW(removexattrat, fd, "", AT_EMPTY_PATH, "user.b");
	SHOW(removexattrat, AT_FDCWD, "file", 1, "user.a");
	return 0;
}
