/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of nsfs: links, status, ioctls. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/nsfs.h>
#include <sys/vfs.h>

static const char *const kinds[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };

static const char *of(const char *kind)
{
	static char path[64];

	memcpy(path, "/proc/self/ns/", 14);
	memcpy(path + 14, kind, strlen(kind) + 1);
	return path;
}

int main(void)
{
	char text[64];
	struct stat status;
	struct statfs fs;
	u32 owner;
	long fd, user;

	for (u32 i = 0; i < COUNT(kinds); i++) {
		long n = MUST(readlink, of(kinds[i]), text, 63);
		u64 number = 0;

		text[n] = 0;
		fd = MUST(open, of(kinds[i]), O_RDONLY);
		MUST(fstat, fd, &status);
		for (char *digit = text + strlen(kinds[i]) + 2; *digit != ']'; digit++)
			number = 10 * number + *digit - '0';
		print("%s: %d, mode %o, links %ld, size %ld, type %lx\n", kinds[i], number == status.st_ino,
		      status.st_mode, (long)status.st_nlink, (long)status.st_size, SYS(ioctl, fd, NS_GET_NSTYPE));
		MUST(close, fd);
	}
	SHOW(readlink, "/proc/self/ns/nothing", text, 63);
	fd = MUST(open, "/proc/self/ns/uts", O_RDONLY);
	MUST(fstatfs, fd, &fs);
	print("magic %lx\n", (long)fs.f_type);
	SHOW(read, fd, text, 1);
	SHOW(write, fd, text, 1);
	SHOW(open, "/proc/self/ns/uts", O_RDWR);
	SHOW(open, "/proc/self/ns/uts", O_DIRECTORY);
	SHOW(fchmod, fd, 0600);
	SHOW(ioctl, fd, NS_GET_OWNER_UID, &owner);
	SHOW(ioctl, fd, NS_GET_PARENT);
	SHOW(ioctl, fd, 0xb7ff);
	become(1000);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	MUST(unshare, CLONE_NEWUSER | CLONE_NEWUTS);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	SHOW(ioctl, fd, NS_GET_USERNS);
	fd = MUST(open, "/proc/self/ns/uts", O_RDONLY);
	user = SYS(ioctl, fd, NS_GET_USERNS);
	SAY(user > 0);
	SAY(SYS(ioctl, user, NS_GET_NSTYPE) == CLONE_NEWUSER);
	SHOW(ioctl, user, NS_GET_OWNER_UID, &owner);
	print("owner %u\n", owner);
	SHOW(ioctl, user, NS_GET_PARENT);
	SHOW(ioctl, user, NS_GET_USERNS);
	SHOW(fcntl, user, F_GETFD);
	SHOW(setns, user, 0);
	SHOW(setns, fd, 0);
	return 0;
}
