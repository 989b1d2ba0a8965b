/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setxattr(2), getxattr(2), listxattr(2), removexattr(2), in all their forms. */
#include "native.h"
#include <sys/xattr.h>

static char text[70000];

int main(void)
{
	put("file", "x");
	MUST(symlink, "file", "link");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(setxattr, "file", "user.a", "one", 3, 0);
	SHOW(setxattr, "file", "user.a", "one", 3, XATTR_CREATE);
	SHOW(setxattr, "file", "user.b", "two", 3, XATTR_REPLACE);
	SHOW(setxattr, "file", "user.c", "two", 3, 4);
	SHOW(setxattr, "file", "odd.c", "two", 3, 0);
	SHOW(setxattr, "file", "", "two", 3, 0);
	SHOW(setxattr, "file", "user.c", text, 65537, 0);
	SHOW(setxattr, "missing", "user.a", "one", 3, 0);
	SHOW(setxattr, "file", NOWHERE, "one", 3, 0);
	SHOW(setxattr, "file", "user.a", NOWHERE, 3, 0);
	SHOW(lsetxattr, "file", "user.b", "two", 3, 0);
	SHOW(lsetxattr, "link", "user.b", "two", 3, 0);
	SHOW(fsetxattr, fd, "user.c", "", 0, 0);
	SHOW(fsetxattr, 99, "user.c", "", 0, 0);
	SHOW(getxattr, "file", "user.a", text, 100);
	SHOW(getxattr, "link", "user.a", text, 0);
	SHOW(getxattr, "file", "user.a", text, 2);
	SHOW(getxattr, "file", "user.z", text, 100);
	SHOW(getxattr, "file", "odd.z", text, 100);
	SHOW(getxattr, "missing", "user.a", text, 100);
	SHOW(lgetxattr, "file", "user.b", text, 100);
	SHOW(lgetxattr, "link", "user.b", text, 100);
	SHOW(fgetxattr, fd, "user.c", text, 100);
	SHOW(fgetxattr, 99, "user.c", text, 100);
	SHOW(listxattr, "file", text, 100);
	SHOW(listxattr, "file", text, 3);
	SHOW(listxattr, "file", NULL, 0);
	SHOW(listxattr, "missing", text, 3);
	SHOW(llistxattr, "link", text, 100);
	SHOW(llistxattr, "missing", text, 100);
	SHOW(flistxattr, fd, text, 100);
	SHOW(flistxattr, 99, text, 100);
	SHOW(removexattr, "file", "user.a");
	SHOW(removexattr, "file", "user.a");
	SHOW(lremovexattr, "file", "user.b");
	SHOW(lremovexattr, "link", "user.b");
	SHOW(fremovexattr, fd, "user.c");
	SHOW(fremovexattr, fd, "user.c");
	SHOW(fremovexattr, 99, "user.c");
	SHOW(flistxattr, fd, text, 100);
	return 0;
}
