/* SPDX-License-Identifier: GPL-2.0-or-later */
/* statx(2): masks, flags and what it says of a file. */
// since: 6.11
#include "native.h"
#include <linux/stat.h>

int main(void)
{
	struct statx st;
	put("file", "text");
	MUST(symlink, "file", "link");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(statx, AT_FDCWD, "file", 0, STATX_BASIC_STATS, &st);
	print("%o %ld %d\n", st.stx_mode, (long)st.stx_size, (int)(st.stx_mask & STATX_BASIC_STATS));
	SHOW(statx, AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st);
	print("%o\n", st.stx_mode & S_IFMT);
	SHOW(statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &st);
	SHOW(statx, fd, NULL, AT_EMPTY_PATH, STATX_SIZE, &st);
	SHOW(statx, fd, "", 0, STATX_SIZE, &st);
	SHOW(statx, fd, "", AT_EMPTY_PATH, 0, &st);
	SHOW(statx, AT_FDCWD, "file", 0, 0x80000000u, &st);
	SHOW(statx, AT_FDCWD, "file", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &st);
	SHOW(statx, AT_FDCWD, "file", 1, STATX_SIZE, &st);
	SHOW(statx, 99, NOWHERE, 1, 0x80000000u, NOWHERE);
	SHOW(statx, 99, "file", 0, STATX_SIZE, &st);
	SHOW(statx, AT_FDCWD, "missing", 0, STATX_SIZE, NOWHERE);
	SHOW(statx, AT_FDCWD, "file", 0, STATX_SIZE, NOWHERE);
	SHOW(statx, AT_FDCWD, NOWHERE, 0, STATX_SIZE, &st);
	return 0;
}
