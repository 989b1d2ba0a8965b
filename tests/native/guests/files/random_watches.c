/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls on names while directories and files are watched, by chance. */
#include "native.h"
#include <sys/inotify.h>

static char buffer[8192] __attribute__((aligned(8)));
static const char *const names[] = { "a", "b", "c", "a/a", "a/b", "b/a", "b/b", "c/a" };
#define NAME names[chance(COUNT(names))]
static void tell(int fd)
{
	long n = SYS(read, fd, buffer, sizeof(buffer));

	print(" |");
	for (long at = 0; at < n;) {
		struct inotify_event *e = (void *)(buffer + at);

		print(" %d:%x%s%s%s", e->wd, e->mask, e->cookie ? "!" : "", e->len ? "/" : "", e->len ? e->name : "");
		at += sizeof(*e) + e->len;
	}
}
static long one(int fd)
{
	const char *x = NAME, *y = NAME;
	long f, result;

	switch (chance(14)) {
	case 0:
	case 1:
		return SYS(mkdir, x, 0755);
	case 2:
		return SYS(rmdir, x);
	case 3:
		return SYS(unlink, x);
	case 4:
	case 5:
		return SYS(rename, x, y);
	case 6:
		return SYS(link, x, y);
	case 7:
		return SYS(chmod, x, 0700 + chance(64));
	case 8:
	case 9:
		f = SYS(open, x, O_RDWR | O_CREAT | (chance(4) ? 0 : O_TRUNC), 0640);
		if (f < 0)
			return f;
		result = chance(2) ? SYS(write, f, "text", chance(5)) : SYS(read, f, buffer, 4);
		MUST(close, f);
		return result;
	case 10:
		return SYS(truncate, x, chance(9));
	case 11:
		return SYS(renameat2, AT_FDCWD, x, AT_FDCWD, y, 2);
	case 12:
		return SYS(inotify_add_watch, fd, x, chance(2) ? IN_ALL_EVENTS : IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | (chance(3) ? 0 : IN_ONESHOT));
	default:
		return chance(4) ? SYS(symlink, "x", x) : SYS(inotify_rm_watch, fd, 1 + chance(20));
	}
}

int main(void)
{
	int fd = MUST(inotify_init1, 04000);
	MUST(inotify_add_watch, fd, ".", IN_ALL_EVENTS);
	for (int line = 0; line < 150; line++) {
		for (int i = chance(4); i >= 0; i--)
			print(" %ld", one(fd));
		tell(fd);
		print("\n");
	}
	return 0;
}
