/* SPDX-License-Identifier: GPL-2.0-or-later */
/* move_mount(2): beneath what is mounted, and with the group of another mount. */
// needs: root, proc, namespaces
// since: 6.5
#include "native.h"
#include <sys/mount.h>

#define OPEN_CLONE 1
#define EMPTY 4
#define SET_GROUP 0x100
#define BENEATH 0x200

static int there(const char *path)
{
	struct stat status;

	return !SYS(stat, path, &status);
}

static void dir(const char *path) { MUST(mkdir, path, 0755); }

int main(void)
{
	long fd;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	dir("w");
	MUST(mount, "tmp", "w", "tmpfs", 0, NULL);
	MUST(chdir, "w");
	dir("a"), dir("b"), dir("c"), dir("d");
	MUST(mount, "tmp", "a", "tmpfs", 0, NULL);
	put("a/upper", "x");
	MUST(mount, "tmp", "b", "tmpfs", 0, NULL);
	put("b/lower", "x");
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "c", BENEATH);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "a", BENEATH);
	SAY(there("b/lower"));
	SAY(there("a/upper"));
	SAY(there("a/lower"));
	SHOW(umount2, "a", 0);
	SAY(there("a/lower"));
	SHOW(move_mount, AT_FDCWD, "a", AT_FDCWD, "b", 0);
	SAY(there("b/lower"));
	MUST(mkdir, "b/sub", 0755);
	fd = SHOW(open_tree, AT_FDCWD, "b", OPEN_CLONE);
	SHOW(move_mount, fd, "", AT_FDCWD, "c", EMPTY);
	SHOW(move_mount, fd, "", AT_FDCWD, "b", EMPTY);
	SHOW(move_mount, fd, "", AT_FDCWD, "b/sub", EMPTY);
	SHOW(umount2, "b", 0);
	SHOW(mount, "b", "c", NULL, MS_BIND, NULL);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "c", SET_GROUP);
	MUST(mount, NULL, "b", NULL, MS_SHARED, NULL);
	SHOW(move_mount, AT_FDCWD, "b/sub", AT_FDCWD, "c", SET_GROUP);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "c", SET_GROUP);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "c", SET_GROUP);
	SHOW(mount, "tmp", "b/sub", "tmpfs", 0, NULL);
	put("b/sub/seen", "x");
	SAY(there("c/sub/seen"));
	MUST(mount, "tmp", "d", "tmpfs", 0, NULL);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "d", SET_GROUP);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "d", SET_GROUP | BENEATH);
	SHOW(move_mount, AT_FDCWD, "b", AT_FDCWD, "d", 0x8000);
	return 0;
}
