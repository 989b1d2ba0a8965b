/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A shared mount is mounted, with all that it has, in a directory of itself until there are too many, and taken away. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

static int lines(void)
{
	static char buffer[65536];
	int fd = MUST(openat, AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
	int found = 0;
	long got;

	while ((got = MUST(read, fd, buffer, sizeof(buffer))) > 0)
		for (long i = 0; i < got; i++)
			found += buffer[i] == '\n';
	MUST(close, fd);
	return found;
}

static void begin(void)
{
	SHOW(mount, "a", "/work", "tmpfs", 0, NULL);
	SHOW(mkdir, "/work/a", 0777);
	SHOW(mount, "/work/a", "/work/a", NULL, MS_BIND, NULL);
	SHOW(mount, NULL, "/work/a", NULL, MS_SHARED, NULL);
	SHOW(mkdir, "/work/a/b", 0777);
}

int main(void)
{
	int before, times;
	long error;

	SHOW(unshare, CLONE_NEWNS);
	SHOW(mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	SYS(mkdir, "/work", 0777);
	before = lines();
	begin();
	for (int i = 0; i < 6; i++) {
		SHOW(mount, "/work/a", "/work/a/b", NULL, MS_BIND | MS_REC, NULL);
		SAY(lines() - before);
	}
	SHOW(umount2, "/work/a/b", 0);
	SHOW(umount2, "/work/a/b", MNT_DETACH);
	SAY(lines() - before);
	SHOW(umount2, "/work", MNT_DETACH);
	SAY(lines() - before);
	begin();
	for (times = 0; times < 100; times++) {
		error = SYS(mount, "/work/a", "/work/a/b", NULL, MS_BIND | MS_REC, NULL);
		if (error)
			break;
	}
	SAY(-error);
	SHOW(umount2, "/work", MNT_DETACH);
	SAY(lines() - before);
	return 0;
}
