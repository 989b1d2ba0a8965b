/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of proc: hidepid, gid, subset; each mount has its own. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

static const char *see(const char *path)
{
	long fd = SYS(open, path, O_RDONLY);

	if (fd >= 0)
		SYS(close, fd);
	return result_name(fd);
}

static void look(const char *when)
{
	print("%s:", when);
	print(" own %s", see("proc/self/status"));
	print(", directory %s", see("proc/1"));
	print(", status %s", see("proc/1/status"));
	print(", uptime %s", see("proc/uptime"));
	print(", sys %s\n", see("proc/sys"));
}

static int other_instance(void)
{
	struct stat one, other;

	MUST(stat, "proc", &one);
	MUST(stat, "proc2", &other);
	return one.st_dev != other.st_dev;
}

int main(void)
{
	long pid;

	MUST(unshare, CLONE_NEWNS | CLONE_NEWPID);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	MUST(mkdir, "proc", 0755);
	MUST(mkdir, "proc2", 0755);
	pid = MUST(fork);
	if (pid) {
		reap(pid);
		return 0;
	}
	SHOW(mount, "p", "proc", "proc", 0, "hidepid=9");
	SHOW(mount, "p", "proc", "proc", 0, "subset=all");
	SHOW(mount, "p", "proc", "proc", 0, "nothing");
	SHOW(mount, "p", "proc", "proc", 0, "hidepid=invisible");
	SHOW(mount, "p", "proc2", "proc", 0, NULL);
	SAY(other_instance());
	look("root");
	pid = MUST(fork);
	if (!pid) {
		become(1000);
		look("invisible");
		leave(0);
	}
	reap(pid);
	SHOW(mount, NULL, "proc", NULL, MS_REMOUNT, "hidepid=1,gid=7");
	pid = MUST(fork);
	if (!pid) {
		become(1000);
		look("no access");
		leave(0);
	}
	reap(pid);
	pid = MUST(fork);
	if (!pid) {
		u32 group = 7;

		MUST(setgroups, 1, &group);
		MUST(setresgid, 1000, 1000, 1000);
		MUST(setresuid, 1000, 1000, 1000);
		look("in the group");
		leave(0);
	}
	reap(pid);
	MUST(umount2, "proc", 0);
	SHOW(mount, "p", "proc", "proc", 0, "subset=pid");
	look("subset");
	return 0;
}
