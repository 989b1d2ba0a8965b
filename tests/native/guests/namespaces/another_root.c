/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pivot_root(2) in a tree of one's own, as containers do it. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

static void dir(const char *path) { SYS(mkdir, path, 0755); }

static int there(const char *path)
{
	struct stat status;

	return !SYS(stat, path, &status);
}

int main(void)
{
	char path[256], c;
	int ends[2];
	long pid;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	dir("new");
	SHOW(pivot_root, "nothing", "new");
	MUST(mount, "tmp", "new", "tmpfs", 0, NULL);
	SHOW(pivot_root, "new", "new/old");
	dir("new/old"), dir("new/proc"), dir("new/sub");
	put("new/file", "x");
	SHOW(pivot_root, "new/file", "new/old");
	SHOW(pivot_root, "new/sub", "new/old");
	SHOW(pivot_root, "new", "/");
	SHOW(mount, "proc", "new/proc", "proc", 0, NULL);
	MUST(pipe, ends);
	pid = MUST(fork);
	if (!pid) {
		MUST(read, ends[0], &c, 1);
		SAY(there("/file"));
		leave(0);
	}
	SHOW(pivot_root, "new", "new/old");
	SAY(there("/file"));
	SAY(there("/old/proc"));
	MUST(getcwd, path, 256);
	SAY(path[0] == '/' || path[0] == '(');
	SHOW(chdir, "/");
	MUST(getcwd, path, 256);
	print("in %s\n", path);
	SHOW(umount2, "/old", 0);
	SHOW(umount2, "/old", MNT_DETACH);
	SAY(there("/old/proc"));
	SHOW(rmdir, "/old");
	SHOW(umount2, "/proc", 0);
	MUST(write, ends[1], "x", 1);
	reap(pid);
	dir("/again");
	SHOW(mount, "/again", "/again", NULL, MS_BIND, NULL);
	MUST(chdir, "/again");
	SHOW(pivot_root, ".", "."); /* the old root on top of the new one */
	SHOW(umount2, ".", MNT_DETACH);
	SAY(there("/file"));
	SHOW(chdir, "/");
	SHOW(mkdir, "x", 0755);
	return 0;
}
