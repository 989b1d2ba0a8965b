/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cgroup namespace: what is above is not seen, and what is beside has "..". */
// needs: root, cgroup2, proc, namespaces
#include "cgroups.h"
#include <sys/mount.h>

static void group_of(const char *path)
{
	char text[1024], *at = text, *end;
	int fd = MUST(open, path, O_RDONLY);
	long n = MUST(read, fd, text, sizeof(text) - 1);

	text[n] = 0;
	while (memcmp(at, "0::", 3))
		while (*at++ != '\n')
			;
	for (end = at; *end != '\n'; end++)
		;
	*end = 0;
	print("%s\n", at);
	MUST(close, fd);
}

int main(void)
{
	int ends[2];
	long pid, other;
	char c, path[64] = "/proc/";

	enter_own_group();
	MUST(pipe, ends);
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a/b", 0755);
	SHOW(mkdir, "c", 0755);
	other = sleeper();
	MOVE("c/cgroup.procs", other);
	memcpy(path + 6, decimal(other), strlen(decimal(other)) + 1);
	memcpy(path + strlen(path), "/cgroup", 8);
	pid = MUST(fork);
	if (!pid) {
		PUT("a/cgroup.procs", "0");
		SHOW(unshare, CLONE_NEWCGROUP);
		group_of("/proc/self/cgroup");
		group_of(path);
		PUT("a/b/cgroup.procs", "0");
		group_of("/proc/self/cgroup");
		PUT("a/cgroup.procs", "0");
		MUST(unshare, CLONE_NEWNS);
		MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
		SHOW(mount, "cgroup2", "/sys/fs", "cgroup2", 0, NULL);
		SHOW(chdir, "/sys/fs");
		SHOW(access, "b", F_OK);
		SHOW(access, "c", F_OK);
		SHOW(access, "cgroup.events", F_OK);
		see_numbers("cgroup.procs", SYS(getpid));
		SHOW(mkdir, "b/d", 0755);
		PUT("b/d/cgroup.procs", "0");
		group_of("/proc/self/cgroup");
		PUT("cgroup.procs", "0");
		SHOW(rmdir, "b/d");
		MUST(read, ends[0], &c, 1);
		leave(0);
	}
	sleep_ms(100);
	MUST(write, ends[1], "x", 1);
	reap(pid);
	end_child(other);
	SHOW(rmdir, "a/b");
	SHOW(rmdir, "a");
	SHOW(rmdir, "c");
	remove_own_group();
	return 0;
}
