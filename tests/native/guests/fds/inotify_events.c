/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inotify(7): what is told of files in a directory, and of watches that end. */
#include "native.h"
#include <sys/inotify.h>

static char buffer[4096] __attribute__((aligned(8)));
static void tell(int fd)
{
	long n = SYS(read, fd, buffer, sizeof(buffer));

	if (n < 0)
		print("%s\n", errno_name(-n));
	for (long at = 0; at < n;) {
		struct inotify_event *e = (void *)(buffer + at);

		print("%d %x %d %s\n", e->wd, e->mask, e->cookie != 0, e->len ? e->name : "-");
		at += sizeof(*e) + e->len;
	}
}

int main(void)
{
	SHOW(inotify_init1, 1);
	SHOW(inotify_init);
	int fd = SHOW(inotify_init1, 04000);
	MUST(mkdir, "d", 0755);
	SHOW(inotify_add_watch, fd, "d", IN_ALL_EVENTS);
	SHOW(inotify_add_watch, fd, "d", IN_ALL_EVENTS);
	SHOW(inotify_add_watch, fd, "missing", IN_ALL_EVENTS);
	SHOW(inotify_add_watch, fd, "d", 0);
	SHOW(inotify_add_watch, fd, NOWHERE, 0);
	SHOW(inotify_add_watch, fd, NOWHERE, IN_CREATE);
	SHOW(inotify_add_watch, 99, "d", IN_CREATE);
	SHOW(inotify_add_watch, 1, "d", IN_CREATE);
	SHOW(inotify_add_watch, fd, "d", IN_MASK_ADD | IN_MASK_CREATE | IN_CREATE);
	SHOW(inotify_add_watch, fd, "d", IN_MASK_CREATE | IN_CREATE);
	tell(fd);
	put("d/a", "x");
	tell(fd);
	MUST(rename, "d/a", "d/b");
	MUST(link, "d/b", "d/c");
	MUST(chmod, "d/b", 0600);
	tell(fd);
	cat("d/b");
	tell(fd);
	MUST(unlink, "d/b");
	MUST(unlink, "d/c");
	tell(fd);
	MUST(rmdir, "d");
	tell(fd);
	SHOW(inotify_rm_watch, fd, 1);
	put("f", "x");
	SHOW(inotify_add_watch, fd, "f", IN_MODIFY);
	SHOW(inotify_add_watch, fd, "f", IN_ONLYDIR | IN_MODIFY);
	SHOW(inotify_rm_watch, fd, 2);
	SHOW(inotify_rm_watch, 99, 2);
	SHOW(inotify_rm_watch, 1, 2);
	tell(fd);
	SHOW(read, fd, buffer, 10);
	return 0;
}
