/* SPDX-License-Identifier: GPL-2.0-or-later */
/* statfs(2) and fstatfs(2) of a tmpfs. */
#include "native.h"
#include <sys/vfs.h>

int main(void)
{
	struct statfs st;
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(statfs, ".", &st);
	SHOW(statfs, "file", &st);
	print("block %ld name %ld\n", st.f_bsize, st.f_namelen);
	SHOW(statfs, "missing", &st);
	SHOW(statfs, "missing", NOWHERE);
	SHOW(statfs, "file", NOWHERE);
	SHOW(statfs, NOWHERE, &st);
	SHOW(statfs, "", &st);
	SHOW(statfs, "file/x", &st);
	SHOW(fstatfs, fd, &st);
	SHOW(fstatfs, fd, NOWHERE);
	SHOW(fstatfs, 99, &st);
	SHOW(fstatfs, 99, NOWHERE);
	SHOW(fstatfs, MUST(open, "file", O_PATH), &st);
	return 0;
}
