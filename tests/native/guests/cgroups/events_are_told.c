/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poll(2) and inotify(7) on cgroup.events: a group gets its first process, loses its last, and is frozen. */
// needs: root, cgroup2
#include "cgroups.h"
#include <sys/inotify.h>

static int notes;

static void look(int fd)
{
	struct pollfd p = { fd, POLLPRI | POLLIN, 0 };
	struct {
		struct inotify_event event;
		char name[64];
	} note;

	SHOW(poll, &p, 1, 0);
	print("events %x\n", p.revents);
	sleep_ms(30); /* changes that follow one another are told once in 10 ms */
	while (SYS(read, notes, &note, sizeof(note)) > 0)
		print("inotify %d %x\n", note.event.wd, note.event.mask);
}

static void read_again(int fd)
{
	char text[64];
	long n = MUST(pread64, fd, text, sizeof(text) - 1, 0);

	text[n] = 0;
	print("%s", text);
}

int main(void)
{
	int fd;
	long pid;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	fd = MUST(open, "a/cgroup.events", O_RDONLY);
	notes = MUST(inotify_init1, IN_NONBLOCK);
	SHOW(inotify_add_watch, notes, "a/cgroup.events", IN_MODIFY);
	look(fd);
	read_again(fd);
	look(fd);
	pid = sleeper();
	MOVE("a/cgroup.procs", pid);
	look(fd);
	read_again(fd);
	look(fd);
	PUT("a/cgroup.freeze", "1");
	sleep_ms(20);
	look(fd);
	read_again(fd);
	PUT("a/cgroup.kill", "1");
	reap(pid);
	look(fd);
	read_again(fd);
	SHOW(rmdir, "a");
	look(fd);
	SHOW(pread64, fd, &pid, 8, 0);
	remove_own_group();
	return 0;
}
