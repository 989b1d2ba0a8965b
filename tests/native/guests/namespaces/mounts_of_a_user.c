/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounting in a user namespace: which types, what is locked, whose files it has. */
// needs: root, proc, namespaces
#include "native.h"
#include "idmap.h"
#include <sys/mount.h>

static void dir(const char *path) { SYS(mkdir, path, 0777); }

int main(void)
{
	struct stat status;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	MUST(chmod, ".", 0777);
	dir("ro"), dir("below");
	MUST(mount, "tmp", "below", "tmpfs", 0, NULL);
	dir("below/sub");
	MUST(mount, "tmp", "below/sub", "tmpfs", MS_NOEXEC, NULL);
	MUST(mount, "tmp", "ro", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	MUST(mount, NULL, "ro", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
	become(1000);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	MUST(unshare, CLONE_NEWUSER);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	SHOW(mount, "tmp", "below", "tmpfs", 0, NULL);
	MUST(unshare, CLONE_NEWNS);
	put_map("/proc/self/setgroups", "deny");
	put_map("/proc/self/uid_map", "0 1000 1");
	put_map("/proc/self/gid_map", "0 1000 1");
	dir("mine");
	SHOW(mount, "tmp", "mine", "tmpfs", 0, "mode=700");
	MUST(stat, "mine", &status);
	print("mine: %o %u %u\n", status.st_mode & 07777, status.st_uid, status.st_gid);
	put("mine/file", "x");
	dir("mine/given");
	SHOW(mount, "tmp", "mine/given", "tmpfs", 0, "uid=5");
	SHOW(mount, "tmp", "mine/given", "tmpfs", 0, "uid=0");
	SHOW(mount, "none", "mine/given", "nothing", 0, NULL);
	SHOW(mount, "none", "mine/given", "devtmpfs", 0, NULL);
	SHOW(umount2, "below/sub", 0);
	SHOW(umount2, "below", 0);
	SHOW(mount, "below", "mine/given", NULL, MS_BIND, NULL);
	SHOW(mount, "below", "mine/given", NULL, MS_BIND | MS_REC, NULL);
	SHOW(mount, "ro", "mine/given", NULL, MS_BIND, NULL);
	SHOW(mount, NULL, "mine/given", NULL, MS_REMOUNT | MS_BIND, NULL);
	SHOW(mount, NULL, "mine/given", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
	SHOW(mount, NULL, "mine/given", NULL,
	     MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	SHOW(mount, NULL, "mine/given", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	SHOW(umount2, "mine/given", 0);
	SHOW(mknod, "mine/null", S_IFCHR | 0666, 0x103);
	SHOW(umount2, "mine", MNT_FORCE);
	SHOW(umount2, "mine/given", 0);
	SHOW(umount2, "mine/given", 0);
	SHOW(umount2, "mine/given", 0);
	SHOW(umount2, "mine", 0);
	SHOW(mount, NULL, "/", NULL, MS_SHARED, NULL);
	SHOW(mount, NULL, "/", NULL, MS_PRIVATE, NULL);
	return 0;
}
