/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file_getattr(2) and file_setattr(2). */
// since: 6.17
#include "native.h"

int main(void)
{
	struct { u64 flags; u32 extsize, nextents, projid, cowextsize; } attr;
	put("file", "x");
	MUST(symlink, "file", "link");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(file_getattr, AT_FDCWD, "file", &attr, 24, 0);
	print("%lx %u %u %u\n", (long)attr.flags, attr.extsize, attr.projid, attr.cowextsize);
	SHOW(file_getattr, fd, "", &attr, 24, AT_EMPTY_PATH);
	SHOW(file_getattr, fd, "", &attr, 24, 0);
	SHOW(file_getattr, AT_FDCWD, "file", &attr, 23, 0);
	SHOW(file_getattr, AT_FDCWD, "file", &attr, 5000, 0);
	SHOW(file_getattr, AT_FDCWD, "file", &attr, 24, 1);
	SHOW(file_getattr, AT_FDCWD, "missing", &attr, 24, 0);
	SHOW(file_getattr, 99, "file", &attr, 24, 0);
	SHOW(file_getattr, AT_FDCWD, "file", NOWHERE, 24, 0);
	SHOW(file_setattr, AT_FDCWD, "file", &attr, 24, 0);
	SHOW(file_setattr, AT_FDCWD, "missing", &attr, 24, 0);
	SHOW(file_setattr, AT_FDCWD, "file", &attr, 23, 0);
	SHOW(file_setattr, AT_FDCWD, "file", NOWHERE, 24, 0);
	return 0;
}
