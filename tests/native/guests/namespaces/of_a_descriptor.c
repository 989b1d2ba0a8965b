/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces by the descriptor of a process, and mount namespaces one after the other. */
// needs: root, proc, namespaces
// since: 6.12
#include "native.h"
#include <linux/nsfs.h>
#include <sys/mount.h>

#define GET_NAMESPACE(number) (0xff00 + (number))
struct info { u32 size, mounts; u64 id; };
#define MNT_GET_INFO 0x8010b70a
#define MNT_GET_NEXT 0x8010b70b
#define MNT_GET_PREV 0x8010b70c
#define GET_MNTNS_ID 0x8008b705

static int same_space(int fd, const char *path)
{
	struct stat one, other;

	MUST(fstat, fd, &one);
	MUST(stat, path, &other);
	return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

int main(void)
{
	static const char *const paths[] = { "/proc/self/ns/cgroup", "/proc/self/ns/ipc", "/proc/self/ns/mnt",
		"/proc/self/ns/net", "/proc/self/ns/pid", "/proc/self/ns/pid_for_children", "/proc/self/ns/time",
		"/proc/self/ns/time_for_children", "/proc/self/ns/user", "/proc/self/ns/uts" };
	struct info first, second;
	u64 id;
	long self = MUST(pidfd_open, SYS(getpid), 0), pid, fd, old, next;

	for (u32 i = 0; i < COUNT(paths); i++) {
		fd = MUST(ioctl, self, GET_NAMESPACE(i + 1), 0);
		print("%s: %d\n", paths[i], same_space(fd, paths[i]));
		MUST(close, fd);
	}
	SHOW(ioctl, self, GET_NAMESPACE(1), 1);
	SHOW(ioctl, self, GET_NAMESPACE(99), 0);
	pid = MUST(fork);
	if (!pid)
		leave(0);
	fd = MUST(pidfd_open, pid, 0);
	MUST(waitid, P_PID, pid, NULL, WEXITED | WNOWAIT, NULL);
	SHOW(ioctl, fd, GET_NAMESPACE(10), 0);
	reap(pid);
	SHOW(ioctl, fd, GET_NAMESPACE(10), 0);
	pid = MUST(getppid);
	old = MUST(open, "/proc/self/ns/mnt", O_RDONLY);
	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	fd = MUST(open, "/proc/self/ns/mnt", O_RDONLY);
	MUST(ioctl, fd, MNT_GET_INFO, &first);
	MUST(mount, "tmp", ".", "tmpfs", 0, NULL);
	MUST(ioctl, fd, MNT_GET_INFO, &second);
	print("size %u, one mount more: %d, same id: %d\n", first.size, second.mounts == first.mounts + 1,
	      first.id == second.id);
	MUST(ioctl, fd, GET_MNTNS_ID, &id);
	SAY(id == first.id);
	MUST(ioctl, old, MNT_GET_INFO, &second);
	SAY(second.id < first.id);
	next = SYS(ioctl, old, MNT_GET_NEXT, &second);
	SAY(next > 0);
	SAY(second.id > 0);
	SHOW(ioctl, MUST(open, "/proc/self/ns/uts", O_RDONLY), MNT_GET_INFO, &second);
	SHOW(ioctl, MUST(open, "/proc/self/ns/uts", O_RDONLY), GET_MNTNS_ID, &id);
	become(1000);
	SHOW(ioctl, self, GET_NAMESPACE(1), 0);
	SHOW(ioctl, old, MNT_GET_NEXT, &second);
	return 0;
}
