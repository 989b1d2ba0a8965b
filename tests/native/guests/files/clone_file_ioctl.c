/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl_ficlone(2) where no blocks can be shared, and ioctls of every file. */
#include "native.h"

#include <linux/fs.h>

int main(void)
{
	int fds[2], size = 0;
	put("one", "0123456789");
	put("other", "");
	MUST(mkdir, "d", 0755);
	int one = MUST(open, "one", O_RDWR), other = MUST(open, "other", O_RDWR);
	int reads = MUST(open, "one", O_RDONLY), writes = MUST(open, "other", O_WRONLY);
	int appends = MUST(open, "other", O_RDWR | O_APPEND), directory = MUST(open, "d", O_RDONLY);
	int null = MUST(open, "/dev/null", O_RDWR);
	struct file_clone_range range = {one, 0, 0, 0};
	MUST(pipe2, fds, O_NONBLOCK);
	SHOW(ioctl, other, FICLONE, one);
	SHOW(ioctl, other, FICLONE, 99);
	SHOW(ioctl, reads, FICLONE, other);
	SHOW(ioctl, one, FICLONE, writes);
	SHOW(ioctl, appends, FICLONE, one);
	SHOW(ioctl, directory, FICLONE, one);
	SHOW(ioctl, other, FICLONE, directory);
	SHOW(ioctl, null, FICLONE, one);
	SHOW(ioctl, other, FICLONE, fds[0]);
	SHOW(ioctl, fds[1], FICLONE, fds[0]);
	SHOW(ioctl, other, FICLONERANGE, &range);
	range.src_fd = 99;
	SHOW(ioctl, other, FICLONERANGE, &range);
	SHOW(ioctl, other, FICLONERANGE, NOWHERE);
	SHOW(ioctl, one, FIGETBSZ, &size);
	SAY(size);
	SHOW(ioctl, MUST(open, "/proc/stat", O_RDONLY), FIGETBSZ, &size);
	SAY(size);
	SHOW(ioctl, one, FIGETBSZ, NOWHERE);
	return 0;
}
