/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify: events with handles and names, also of what is made, removed, renamed and changed. */
// since: 6.18
// needs: root
#include "native.h"
#include "fanotify.h"

static void happen(void)
{
	open_and_close("dir/new", O_RDWR | O_CREAT, 0600);
	MUST(chmod, "dir/new", 0640);
	MUST(rename, "dir/new", "dir/moved");
	MUST(link, "dir/moved", "dir/linked");
	MUST(unlink, "dir/linked");
	MUST(rename, "dir/moved", "away");
	MUST(rename, "away", "dir/back");
	MUST(mkdir, "dir/sub", 0700);
	MUST(rmdir, "dir/sub");
	MUST(unlink, "dir/back");
}

static void with(u32 flags)
{
	u64 all = FAN_OPEN | FAN_CLOSE | FAN_ATTRIB | FAN_CREATE | FAN_DELETE | FAN_MOVE | FAN_DELETE_SELF | FAN_MOVE_SELF;
	print("report %x\n", flags);
	int fd = MUST(fanotify_init, FAN_NONBLOCK | flags, O_RDONLY);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, all | FAN_EVENT_ON_CHILD, AT_FDCWD, "dir");
	happen();
	fan_events(fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_ONDIR, AT_FDCWD, "dir");
	MUST(mkdir, "dir/sub", 0700);
	MUST(rmdir, "dir/sub");
	open_and_close("dir", O_RDONLY, 0);
	MUST(chmod, "dir", 0755);
	fan_events(fd);
	MUST(close, fd);
}

int main(void)
{
	MUST(mkdir, "dir", 0700);
	with(FAN_REPORT_FID);
	with(FAN_REPORT_DIR_FID);
	with(FAN_REPORT_DFID_NAME);
	with(FAN_REPORT_DFID_NAME | FAN_REPORT_FID);
	int fd = MUST(fanotify_init, FAN_NONBLOCK | FAN_REPORT_FID, O_RDONLY);
	put("file", "text");
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_DELETE_SELF | FAN_ATTRIB | FAN_MOVE_SELF, AT_FDCWD, "file");
	MUST(rename, "file", "moved");
	MUST(unlink, "moved");
	fan_events(fd);
	return 0;
}
