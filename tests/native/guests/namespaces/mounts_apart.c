/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWNS: a tree of mounts of one's own; by unshare, clone, setns; its end. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

static int there(const char *path)
{
	struct stat status;

	return !SYS(stat, path, &status);
}

static const char *here(void)
{
	static char path[256];
	long n = SYS(getcwd, path, 256);

	return n > 0 ? "some directory" : result_name(n);
}

int main(void)
{
	int ends[2], back[2];
	long pid, own, child;

	MUST(pipe, ends);
	MUST(pipe, back);
	SHOW(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	MUST(mkdir, "d", 0755);
	own = MUST(open, "/proc/self/ns/mnt", O_RDONLY);
	pid = MUST(clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		SHOW(mount, "tmp", "d", "tmpfs", 0, NULL);
		put("d/inside", "x");
		SAY(there("d/inside"));
		step(ends[1]);
		await(back[0]);
		SAY(there("d/outside"));
		leave(0);
	}
	await(ends[0]);
	SAY(there("d/inside"));
	put("d/outside", "x");
	child = MUST(fork);
	if (!child) {
		char path[64] = "/proc/";
		char digits[16];
		int n = 0, at = 6, fd;

		for (long left = pid; left; left /= 10)
			digits[n++] = '0' + left % 10;
		while (n)
			path[at++] = digits[--n];
		memcpy(path + at, "/ns/mnt", 8);
		fd = MUST(open, path, O_RDONLY);
		SHOW(setns, fd, CLONE_NEWNS);
		print("in %s\n", here());
		SAY(there("d/inside"));
		SAY(there("/proc/self/stat"));
		memcpy(path + at, "/cwd", 5);
		SHOW(chdir, path);
		SAY(there("d/inside"));
		MUST(setns, own, CLONE_NEWNS);
		leave(0);
	}
	reap(child);
	child = SYS(clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		SHOW(setns, own, CLONE_NEWNS);
		SHOW(unshare, CLONE_NEWNS);
		SHOW(setns, own, CLONE_NEWNS);
		leave(0);
	}
	reap(child);
	step(back[1]);
	reap(pid);
	SAY(there("d/inside"));
	SHOW(rmdir, "d");
	MUST(unlink, "d/outside");
	SHOW(rmdir, "d");
	become(1000);
	SHOW(mount, "tmp", ".", "tmpfs", 0, NULL);
	SHOW(umount2, ".", 0);
	SHOW(setns, own, CLONE_NEWNS);
	return 0;
}
