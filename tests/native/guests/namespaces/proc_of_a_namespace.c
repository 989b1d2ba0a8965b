/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A /proc that was mounted in a PID namespace: its processes, by their numbers; the outer one shows both. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

/* The lines of a file that begin so. */
static void lines(const char *path, const char *begin)
{
	static char text[4096];
	int fd = SYS(open, path, O_RDONLY);
	long n = fd < 0 ? fd : SYS(read, fd, text, 4095);

	if (n < 0) {
		print("%s: %s\n", path, errno_name(-n));
		return;
	}
	for (char *line = text, *end; line < text + n; line = end + 1) {
		for (end = line; end < text + n && *end != '\n'; end++)
			;
		*end = 0;
		if (!memcmp(line, begin, strlen(begin)))
			print("%s\n", line);
	}
	MUST(close, fd);
}

static void entries(const char *path)
{
	struct entry { u64 ino, off; u16 length; u8 type; char name[]; };
	static char text[65536];
	int fd = MUST(open, path, O_RDONLY | O_DIRECTORY);
	long n;

	print("%s:", path);
	while ((n = MUST(getdents64, fd, text, sizeof(text))) > 0)
		for (char *at = text; at < text + n; at += ((struct entry *)at)->length)
			if (((struct entry *)at)->name[0] >= '0' && ((struct entry *)at)->name[0] <= '9')
				print(" %s", ((struct entry *)at)->name);
	print("\n");
	MUST(close, fd);
}

static char *link_of(const char *path)
{
	static char text[128];
	long n = SYS(readlink, path, text, 127);

	if (n < 0)
		return (char *)errno_name(-n);
	text[n] = 0;
	return text;
}

int main(void)
{
	int ends[2], back[2];
	long pid, child;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	MUST(mkdir, "proc", 0755);
	MUST(pipe, ends);
	MUST(pipe, back);
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		print("before: %s\n", link_of("proc/self"));
		SHOW(mount, "proc", "proc", "proc", 0, NULL);
		child = MUST(fork);
		if (!child) {
			SYS(setsid);
			print("self %s, thread %s\n", link_of("proc/self"), link_of("proc/thread-self"));
			lines("proc/self/status", "NS");
			lines("proc/2/status", "PPid");
			lines("proc/1/status", "Pid");
			lines("proc/3/status", "Pid");
			entries("proc");
			entries("proc/1/task");
			entries("proc/2/task");
			lines("proc/1/task/1/children", "");
			step(ends[1]);
			await(back[0]);
			leave(0);
		}
		reap(child);
		lines("proc/2/status", "Pid");
		entries("proc");
		leave(0);
	}
	await(ends[0]);
	print("outside: %s\n", link_of("proc/self"));
	entries("proc");
	lines("proc/2/status", "NS");
	child = MUST(pidfd_open, pid, 0);
	step(back[1]);
	reap(pid);
	SHOW(open, "proc/1", O_RDONLY);
	entries("proc");
	return 0;
}
