/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify: an event keeps its file, though that has lost its name; a mark goes with what it was of. */
// since: 6.18
// needs: root
#include "native.h"
#include "fanotify.h"

int main(void)
{
	static char buffer[4096];
	struct fanotify_event_metadata *event = (void *)buffer;
	char text[8] = { 0 };
	MUST(mkdir, "dir", 0700);
	int fd = MUST(fanotify_init, FAN_NONBLOCK, O_RDONLY);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_CLOSE | FAN_EVENT_ON_CHILD, AT_FDCWD, "dir");
	put("dir/file", "text");
	MUST(unlink, "dir/file");
	put("dir/kept", "kept");
	MUST(unlink, "dir/kept");
	MUST(read, fd, buffer, 24);
	print_file(event->fd);
	print("\n");
	SHOW(read, event->fd, text, 8);
	print("%s\n", text);
	MUST(close, event->fd);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "dir");
	MUST(rmdir, "dir");
	MUST(mkdir, "dir", 0700);
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(close, fd);
	return 0;
}
