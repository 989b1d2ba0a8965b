/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsync(2), fdatasync(2), syncfs(2), sync_file_range(2), sync(2). */
#include "native.h"

int main(void)
{
	int fds[2];
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY), path = MUST(open, "file", O_PATH);
	MUST(pipe2, fds, 0);
	SHOW(fsync, fd);
	SHOW(fdatasync, fd);
	SHOW(fsync, fds[0]);
	SHOW(fdatasync, fds[1]);
	SHOW(fsync, path);
	SHOW(fdatasync, 99);
	SHOW(syncfs, fd);
	SHOW(syncfs, 99);
	SHOW(syncfs, path);
	SHOW(sync_file_range, fd, 0, 0, 0);
	SHOW(sync_file_range, fd, 0, 1, 7);
	SHOW(sync_file_range, fd, 0, 1, 8);
	SHOW(sync_file_range, fd, -1, 1, 0);
	SHOW(sync_file_range, fd, 0, -1, 0);
	SHOW(sync_file_range, fds[0], 0, 1, 0);
	SHOW(sync_file_range, fds[0], 0, 1, 7);
	SHOW(sync_file_range, 99, 0, 1, 8);
	SHOW(sync);
	return 0;
}
