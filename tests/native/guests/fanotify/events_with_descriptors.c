/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify: events of a file, of what is in a directory, and of a mount, each with a descriptor. */
// since: 6.18
// needs: root, namespaces
#include "native.h"
#include "fanotify.h"

static void use(const char *path)
{
	char text[8];
	int fd = MUST(open, path, O_RDWR);
	MUST(read, fd, text, 2);
	MUST(write, fd, "x", 1);
	MUST(close, fd);
	fd = MUST(open, path, O_RDONLY);
	MUST(close, fd);
}

int main(void)
{
	MUST(unshare, 0x20000);
	MUST(mount, "none", "/", NULL, 0x44000, NULL);
	MUST(mkdir, "dir", 0700);
	MUST(mkdir, "mnt", 0700);
	MUST(mount, "none", "mnt", "tmpfs", 0, NULL);
	put("file", "text");
	put("dir/inside", "text");
	put("dir/other", "text");
	put("mnt/there", "text");
	MUST(mkdir, "mnt/sub", 0700);
	int fd = MUST(fanotify_init, FAN_NONBLOCK, O_RDONLY);
	u64 all = FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE;
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, all, AT_FDCWD, "file");
	use("file");
	use("dir/inside");
	fan_events(fd);
	print("a directory\n");
	MUST(fanotify_mark, fd, FAN_MARK_ADD, all, AT_FDCWD, "dir");
	use("dir/inside");
	open_and_close("dir", O_RDONLY, 0);
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_EVENT_ON_CHILD, AT_FDCWD, "dir");
	use("dir/inside");
	use("dir/other");
	open_and_close("dir", O_RDONLY, 0);
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_ONDIR, AT_FDCWD, "dir");
	open_and_close("dir", O_RDONLY, 0);
	fan_events(fd);
	print("a mount\n");
	MUST(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_MOUNT, all, AT_FDCWD, "mnt");
	use("mnt/there");
	open_and_close("mnt/sub", O_RDONLY, 0);
	fan_events(fd);
	print("ignored\n");
	MUST(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN | FAN_CLOSE, AT_FDCWD, "mnt/there");
	open_and_close("mnt/there", O_RDONLY, 0);
	fan_events(fd);
	use("mnt/there");
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN | FAN_CLOSE,
	     AT_FDCWD, "mnt/there");
	use("mnt/there");
	use("mnt/there");
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, NULL);
	use("mnt/there");
	fan_events(fd);
	print("others\n");
	long child = MUST(fork);
	if (!child) {
		use("file");
		leave(0);
	}
	reap(child);
	use("file");
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "mnt");
	open_and_close("mnt/there", O_RDONLY, 0);
	fan_events(fd);
	struct pollfd ready = { fd, POLLIN, 0 };
	SHOW(poll, &ready, 1, 0);
	use("file");
	SHOW(poll, &ready, 1, 0);
	char small[20];
	SHOW(read, fd, small, sizeof(small));
	return 0;
}
