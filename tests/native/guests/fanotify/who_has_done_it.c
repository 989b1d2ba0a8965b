/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify: threads, pidfds, programs that are executed; no event of the descriptors that events bring. */
// since: 6.18
// needs: root
#include "native.h"
#include "program.h"
#include "fanotify.h"

static void run(void)
{
	char *words[] = { "again", "x", NULL };
	long child = MUST(fork);
	if (!child)
		MUST(execve, "./again", words, NULL);
	reap(child);
}

int main(int argc, char **argv UNUSED)
{
	char byte;
	if (argc > 1)
		return 3;
	copy("again", 0755);
	int fd = MUST(fanotify_init, FAN_NONBLOCK | FAN_REPORT_PIDFD, O_RDONLY);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN | FAN_OPEN_EXEC, AT_FDCWD, "again");
	open_and_close("again", O_RDONLY, 0);
	fan_events(fd);
	run();
	fan_events(fd);
	MUST(close, fd);
	fd = MUST(fanotify_init, FAN_NONBLOCK, O_RDWR);
	put("file", "text");
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE, AT_FDCWD, "file");
	open_and_close("file", O_RDONLY, 0);
	struct fanotify_event_metadata event;
	SHOW(read, fd, &event, sizeof(event));
	SHOW(read, event.fd, &byte, 1);
	SHOW(write, event.fd, "y", 1);
	SHOW(close, event.fd);
	fan_events(fd);
	int notes = MUST(inotify_init1, O_NONBLOCK);
	char buffer[64];
	MUST(inotify_add_watch, notes, "again", 0x20);
	run();
	SHOW(read, notes, buffer, 64);
	return 0;
}
