/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared, slave, private and unbindable mounts: where mounts and unmounts appear. */
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>

/* Mounts, as "place group master" of mountinfo, with groups by the order in which they are seen. */
static void tell(const char *when)
{
	static char text[65536];
	static long groups[64];
	static int known;
	long n = 0, got;
	int fd = MUST(open, "/proc/self/mountinfo", O_RDONLY);

	print("%s:\n", when);
	while ((got = MUST(read, fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += got;
	text[n] = 0;
	MUST(close, fd);
	for (char *line = text; *line;) {
		char *end = line, *place, *field = line;

		while (*end != '\n')
			end++;
		*end = 0;
		for (int i = 0; i < 4; i++) {
			while (*field != ' ')
				field++;
			field++;
		}
		place = field;
		while (*field != ' ')
			field++;
		*field++ = 0;
		if (!memcmp(place, "/work", 5)) {
			print(" %s", place + 5);
			while (*field != ' ')
				field++;
			for (field++; *field != '-';) {
				char *word = field;
				long number = 0;
				int i;

				while (*field != ' ')
					field++;
				*field++ = 0;
				for (i = 0; word[i] && word[i] != ':'; i++)
					;
				if (!word[i]) {
					print(" %s", word);
					continue;
				}
				word[i] = 0;
				for (char *digit = word + i + 1; *digit; digit++)
					number = 10 * number + *digit - '0';
				for (i = 0; i < known && groups[i] != number; i++)
					;
				if (i == known)
					groups[known++] = number;
				print(" %s:%d", word, i);
			}
			print("\n");
		}
		line = end + 1;
	}
}

static void dir(const char *path) { SYS(mkdir, path, 0755); }

int main(void)
{
	long pid;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	dir("/tmp/work.ns");
	MUST(mount, "tmp", "/tmp/work.ns", "tmpfs", 0, NULL);
	MUST(chdir, "/tmp/work.ns");
	dir("work");
	MUST(chroot, ".");
	MUST(chdir, "/");
	dir("/proc");
	dir("/work");
	MUST(mount, "p", "/proc", "proc", 0, NULL);
	MUST(mount, "tmp", "/work", "tmpfs", 0, NULL);
	dir("/work/a"), dir("/work/b"), dir("/work/c"), dir("/work/d"), dir("/work/e");
	MUST(mount, "tmp", "/work/a", "tmpfs", 0, NULL);
	dir("/work/a/in"), dir("/work/a/sub");
	SHOW(mount, NULL, "/work/a", NULL, MS_SHARED, NULL);
	SHOW(mount, "/work/a", "/work/b", NULL, MS_BIND, NULL);
	SHOW(mount, "/work/a", "/work/c", NULL, MS_BIND, NULL);
	SHOW(mount, NULL, "/work/c", NULL, MS_SLAVE, NULL);
	SHOW(mount, "/work/a", "/work/d", NULL, MS_BIND, NULL);
	SHOW(mount, NULL, "/work/d", NULL, MS_PRIVATE, NULL);
	tell("types");
	SHOW(mount, "tmp", "/work/a/in", "tmpfs", 0, NULL);
	tell("in a shared one");
	SHOW(mount, "tmp", "/work/c/sub", "tmpfs", 0, NULL);
	tell("in a slave");
	SHOW(umount2, "/work/b/in", 0);
	tell("unmounted in a peer");
	SHOW(mount, NULL, "/work/c", NULL, MS_SHARED, NULL);
	SHOW(mount, "/work/c", "/work/e", NULL, MS_BIND, NULL);
	SHOW(mount, "tmp", "/work/a/in", "tmpfs", 0, NULL);
	tell("a slave with peers");
	SHOW(mount, NULL, "/work/a", NULL, MS_UNBINDABLE, NULL);
	SHOW(mount, "/work/a", "/work/e/sub", NULL, MS_BIND, NULL);
	tell("unbindable");
	SHOW(mount, NULL, "/work/b", NULL, MS_SLAVE, NULL);
	SHOW(mount, NULL, "/work/a", NULL, MS_SHARED | MS_PRIVATE, NULL);
	SHOW(mount, NULL, "/work/a/sub", NULL, MS_SHARED, NULL);
	SHOW(mount, NULL, "/work/c", NULL, MS_PRIVATE | MS_REC, NULL);
	tell("changed");
	SHOW(mount, "/work/e/in", "/work/a/sub", NULL, MS_MOVE, NULL);
	SHOW(mount, "/work/a/in", "/work/a/sub", NULL, MS_MOVE, NULL);
	tell("moved");
	SHOW(mount, NULL, "/work", NULL, MS_SHARED | MS_REC, NULL);
	pid = MUST(clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		SHOW(mount, NULL, "/work", NULL, MS_SLAVE | MS_REC, NULL);
		SHOW(umount2, "/work/d", MNT_DETACH);
		tell("another tree");
		leave(0);
	}
	reap(pid);
	pid = MUST(clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		SHOW(umount2, "/work/e", MNT_DETACH);
		SHOW(mount, "tmp", "/work/e", "tmpfs", 0, NULL);
		leave(0);
	}
	reap(pid);
	tell("from another tree");
	SHOW(umount2, "/work", 0);
	SHOW(umount2, "/work", MNT_DETACH);
	tell("nothing");
	return 0;
}
