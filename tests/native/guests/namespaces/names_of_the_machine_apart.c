/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWUTS: host and domain names of one's own, by unshare, clone, setns. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/utsname.h>

static void names(const char *where)
{
	struct utsname uts;

	MUST(uname, &uts);
	print("%s: %s %s\n", where, uts.nodename, uts.domainname);
}

static int same_space(const char *a, const char *b)
{
	struct stat one, other;

	MUST(stat, a, &one);
	MUST(stat, b, &other);
	return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

int main(void)
{
	char path[64];
	long pid, fd, own;
	int ends[2], back[2];

	SHOW(unshare, CLONE_NEWUTS);
	SHOW(sethostname, "outer", 5);
	SHOW(setdomainname, "domain", 6);
	own = MUST(open, "/proc/self/ns/uts", O_RDONLY);
	MUST(pipe, ends);
	MUST(pipe, back);
	pid = MUST(fork);
	if (!pid) {
		SHOW(unshare, CLONE_NEWUTS);
		names("child");
		SHOW(sethostname, "inner", 5);
		names("child");
		cat("/proc/sys/kernel/hostname");
		MUST(write, ends[1], "x", 1);
		MUST(read, back[0], path, 1);
		leave(0);
	}
	MUST(read, ends[0], path, 1);
	names("parent");
	memcpy(path, "/proc/", 6);
	{
		char digits[16];
		int n = 0, at = 6;
		long left = pid;

		for (; left; left /= 10)
			digits[n++] = '0' + left % 10;
		while (n)
			path[at++] = digits[--n];
		memcpy(path + at, "/ns/uts", 8);
	}
	SAY(same_space("/proc/self/ns/uts", path));
	fd = MUST(open, path, O_RDONLY);
	SHOW(setns, fd, CLONE_NEWIPC);
	SHOW(setns, fd, CLONE_NEWUTS);
	names("in the child's");
	SAY(same_space("/proc/self/ns/uts", path));
	SHOW(setns, own, 0);
	names("back");
	MUST(write, back[1], "x", 1);
	reap(pid);
	SHOW(setns, fd, 0); /* a descriptor keeps it */
	names("after its end");
	SHOW(setns, 99, 0);
	SHOW(setns, ends[0], 0);
	pid = MUST(clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		MUST(sethostname, "third", 5);
		names("clone");
		leave(0);
	}
	reap(pid);
	names("not changed");
	return 0;
}
