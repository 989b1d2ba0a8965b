/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child is in the group of its maker; a zombie is in none, and a group with zombies alone can be removed. */
// needs: root, cgroup2, proc
#include "cgroups.h"

static void group_of(long pid)
{
	char path[64] = "/proc/", text[1024], *at = text, *end;
	long n;
	int fd;

	memcpy(path + 6, decimal(pid), strlen(decimal(pid)) + 1);
	memcpy(path + strlen(path), "/cgroup", 8);
	fd = MUST(open, path, O_RDONLY);
	n = MUST(read, fd, text, sizeof(text) - 1);
	text[n] = 0;
	while (memcmp(at, "0::", 3)) /* after the lines of version 1 */
		while (*at++ != '\n')
			;
	for (end = at; *end != '\n'; end++)
		;
	*end = 0;
	while (end > at && *end != '/')
		end--;
	print("in %s\n", end);
	MUST(close, fd);
}

int main(void)
{
	int ends[2];
	long pid;
	char c;

	enter_own_group();
	MUST(pipe, ends);
	SHOW(mkdir, "a", 0755);
	PUT("a/cgroup.procs", "0");
	pid = MUST(fork);
	if (!pid) {
		MUST(read, ends[0], &c, 1);
		leave(3);
	}
	PUT("../cgroup.procs", "0");
	see_numbers("a/cgroup.procs", pid);
	group_of(pid);
	MUST(write, ends[1], "x", 1);
	MUST(waitid, P_PID, pid, NULL, WEXITED | WNOWAIT, NULL);
	see("a/cgroup.procs");
	see("a/cgroup.events");
	group_of(pid);
	SHOW(rmdir, "a");
	group_of(pid);
	reap(pid);
	remove_own_group();
	return 0;
}
