/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of fanotify, printed without what differs from host to host. */
#ifndef GUEST_FANOTIFY_H
#define GUEST_FANOTIFY_H

#include <linux/fanotify.h>

static const struct {
	u64 bit;
	const char *name;
} fan_names[] = {
	{ FAN_ACCESS, "ACCESS" }, { FAN_MODIFY, "MODIFY" }, { FAN_ATTRIB, "ATTRIB" }, { FAN_CLOSE_WRITE, "CLOSE_WRITE" },
	{ FAN_CLOSE_NOWRITE, "CLOSE_NOWRITE" }, { FAN_OPEN, "OPEN" }, { FAN_MOVED_FROM, "MOVED_FROM" },
	{ FAN_MOVED_TO, "MOVED_TO" }, { FAN_CREATE, "CREATE" }, { FAN_DELETE, "DELETE" }, { FAN_DELETE_SELF, "DELETE_SELF" },
	{ FAN_MOVE_SELF, "MOVE_SELF" }, { FAN_OPEN_EXEC, "OPEN_EXEC" }, { FAN_Q_OVERFLOW, "Q_OVERFLOW" },
	{ FAN_OPEN_PERM, "OPEN_PERM" }, { FAN_ONDIR, "ONDIR" },
};

UNUSED static void open_and_close(const char *path, int flags, int mode)
{
	int fd = MUST(open, path, flags, mode);

	MUST(close, fd);
}

/* The file behind a descriptor, without its directories. */
UNUSED static void print_file(int fd)
{
	char link[40] = "/proc/self/fd/", path[256] = { 0 }, *last = path;
	int end = 14;
	if (fd >= 10)
		link[end++] = '0' + fd / 10;
	link[end++] = '0' + fd % 10;
	SYS(readlink, link, path, 255);
	for (char *at = path; *at; at++)
		if (*at == '/')
			last = at + 1;
	print(" %s", last);
}

UNUSED static void print_records(char *at, char *end)
{
	while (at < end) {
		struct fanotify_event_info_header *head = (void *)at;
		print(" record %d of %d bytes", head->info_type, head->len);
		if (head->info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
			struct file_handle *handle = (void *)(at + sizeof(*head) + 8);
			print(" %s", (char *)handle->f_handle + handle->handle_bytes);
		}
		if (head->info_type == FAN_EVENT_INFO_TYPE_PIDFD) {
			int pidfd = ((int *)head)[1];
			print(" pidfd %s", pidfd >= 0 ? "ok" : "none");
			SYS(close, pidfd);
		}
		at += head->len;
	}
}

/* Prints all events that there are, and closes their descriptors. */
UNUSED static void fan_events(int fd)
{
	static char buffer[8192];
	long n = SYS(read, fd, buffer, sizeof(buffer));
	if (n < 0)
		print("  %s\n", result_name(n));
	for (long at = 0; at < n;) {
		struct fanotify_event_metadata *event = (void *)(buffer + at);
		print("  %s", event->pid == SYS(getpid) ? "mine" : event->pid ? "another's" : "nobody's");
		for (u32 bit = 0; bit < COUNT(fan_names); bit++)
			if (event->mask & fan_names[bit].bit)
				print(" %s", fan_names[bit].name);
		if (event->fd >= 0)
			print_file(event->fd);
		print_records(buffer + at + event->metadata_len, buffer + at + event->event_len);
		print("\n");
		SYS(close, event->fd);
		at += event->event_len;
	}
}

#endif
