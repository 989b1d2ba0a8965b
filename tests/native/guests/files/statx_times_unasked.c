/* SPDX-License-Identifier: GPL-2.0-or-later */
/* statx(2): what is told, and what only to who asks for it (since Linux 6.13 the times of changes). */
#include "native.h"

#include <linux/stat.h>

#define MNT_ID_UNIQUE 0x4000U
#define DIRECT_IO 0x2000U

static void ask(const char *path, int fd)
{
	static const unsigned wanted[] = {
		0, STATX_TYPE, STATX_MODE, STATX_ATIME, STATX_MTIME, STATX_CTIME, STATX_BTIME, STATX_BASIC_STATS,
		STATX_BASIC_STATS | STATX_BTIME, STATX_MNT_ID, MNT_ID_UNIQUE,
	};
	for (unsigned n = 0; n < COUNT(wanted); n++) {
		struct statx found = {0};
		if (path)
			SHOW(statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, wanted[n], &found);
		else
			SHOW(statx, fd, "", AT_EMPTY_PATH, wanted[n], &found);
		SAY(found.stx_mask & ~DIRECT_IO);
		SAY(found.stx_mtime.tv_sec != 0);
		SAY(found.stx_ctime.tv_sec != 0);
	}
}

int main(void)
{
	int fds[2];
	put("file", "0123456789");
	MUST(symlink, "file", "link");
	MUST(mkdir, "d", 0755);
	MUST(pipe2, fds, 0);
	ask("file", 0);
	ask("link", 0);
	ask("d", 0);
	ask("/dev/null", 0);
	ask("/proc/stat", 0);
	ask(NULL, fds[0]);
	return 0;
}
