/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify: FAN_OPEN_PERM lets somebody say who may open a file. */
// since: 6.18
// needs: root
#include "native.h"
#include "fanotify.h"

int main(void)
{
	static char buffer[4096];
	put("allowed", "text");
	put("denied", "text");
	put("closed", "text");
	int fd = MUST(fanotify_init, FAN_CLASS_CONTENT, O_RDONLY);
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "allowed");
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "denied");
	MUST(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "closed");
	long *results = anonymous(PAGE, MAP_SHARED);
	long child = MUST(fork);
	if (!child) {
		MUST(close, fd);
		results[0] = SYS(open, "allowed", O_RDONLY);
		results[1] = SYS(open, "denied", O_RDWR);
		results[2] = SYS(open, "closed", O_RDONLY);
		leave(0);
	}
	struct fanotify_response answer;
	for (int n = 0; n < 2; n++) {
		struct fanotify_event_metadata *event = (void *)buffer;
		long size = MUST(read, fd, buffer, sizeof(buffer));
		print("asked %ld %lx by the child %d:", size, (u64)event->mask, event->pid == child);
		print_file(event->fd);
		print("\n");
		answer.fd = event->fd;
		answer.response = n ? FAN_DENY : FAN_ALLOW;
		SHOW(write, fd, &answer, 7);
		answer.response = 3;
		SHOW(write, fd, &answer, 8);
		answer.response = n ? FAN_DENY : FAN_ALLOW;
		SHOW(write, fd, &answer, 8);
		SHOW(write, fd, &answer, 8);
		MUST(close, event->fd);
	}
	MUST(read, fd, buffer, sizeof(buffer));
	SHOW(close, fd);
	reap(child);
	print("%s %s %s\n", result_name(results[0]), result_name(results[1]), result_name(results[2]));
	return 0;
}
