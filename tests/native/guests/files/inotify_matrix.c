/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which events each call makes, for a file and for its directory. */
#include "native.h"
#include <sys/inotify.h>

static char buffer[4096] __attribute__((aligned(8)));
static int fd;
static void tell(const char *what)
{
	long n = SYS(read, fd, buffer, sizeof(buffer));

	print("%s:", what);
	for (long at = 0; at < n;) {
		struct inotify_event *e = (void *)(buffer + at);

		print(" %d:%x%s%s", e->wd, e->mask, e->len ? "/" : "", e->len ? e->name : "");
		at += sizeof(*e) + e->len;
	}
	print("\n");
}
#define TRY(name, ...)																		\
	do {																					  \
		long result = SYS(name, ##__VA_ARGS__);											   \
		print("%s ", result_name(result));													\
		tell(#name "(" #__VA_ARGS__ ")");													 \
	} while (0)

int main(void)
{
	char text[512];
	struct timespec times[2] = { { 1, 0 }, { 2, 0 } };
	MUST(mkdir, "d", 0755);
	put("d/f", "x");
	fd = MUST(inotify_init1, 04000);
	MUST(inotify_add_watch, fd, "d", IN_ALL_EVENTS);
	MUST(inotify_add_watch, fd, "d/f", IN_ALL_EVENTS);
	TRY(open, "d/f", O_RDWR);
	TRY(read, 4, text, 1);
	TRY(read, 4, text, 1);
	TRY(pread64, 4, text, 0, 0);
	TRY(write, 4, "abc", 3);
	TRY(write, 4, "", 0);
	TRY(ftruncate, 4, 1);
	TRY(ftruncate, 4, 1);
	TRY(fallocate, 4, 0, 0, 10);
	TRY(fsync, 4);
	TRY(dup, 4);
	TRY(close, 5);
	TRY(close, 4);
	TRY(open, "d/f", O_RDONLY);
	TRY(close, 4);
	TRY(open, "d/f", O_PATH);
	TRY(close, 4);
	TRY(open, "d/f", O_RDWR | O_TRUNC);
	TRY(close, 4);
	TRY(truncate, "d/f", 5);
	TRY(chmod, "d/f", 0600);
	TRY(chown, "d/f", -1, -1);
	TRY(utimensat, AT_FDCWD, "d/f", times, 0);
	TRY(utimensat, AT_FDCWD, "d/f", NULL, 0);
	TRY(access, "d/f", 0);
	TRY(stat, "d/f", text);
	TRY(setxattr, "d/f", "user.a", "x", 1, 0);
	TRY(link, "d/f", "d/g");
	TRY(link, "d/f", "outside");
	TRY(unlink, "outside");
	TRY(rename, "d/g", "d/h");
	TRY(rename, "d/h", "moved");
	TRY(rename, "moved", "d/back");
	TRY(unlink, "d/back");
	TRY(symlink, "f", "d/link");
	TRY(readlink, "d/link", text, 10);
	TRY(open, "d/link", O_RDONLY);
	TRY(close, 4);
	TRY(mkdir, "d/sub", 0755);
	TRY(open, "d/sub", O_RDONLY);
	TRY(getdents64, 4, text, sizeof(text));
	TRY(close, 4);
	TRY(chdir, "d/sub");
	TRY(chdir, "../..");
	TRY(rmdir, "d/sub");
	TRY(open, "d", O_RDONLY);
	TRY(getdents64, 4, text, sizeof(text));
	TRY(close, 4);
	TRY(open, "d/new", O_RDWR | O_CREAT | O_EXCL, 0600);
	TRY(close, 4);
	TRY(mknod, "d/fifo", S_IFIFO | 0600, 0);
	TRY(mknod, "d/plain", S_IFREG | 0600, 0);
	TRY(rename, "d/plain", "d/new");
	TRY(renameat2, AT_FDCWD, "d/f", AT_FDCWD, "d/new", 2);
	char *p = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TRY(munmap, p, PAGE);
	TRY(chmod, "d", 0700);
	TRY(rename, "d", "e");
	TRY(unlink, "e/new");
	TRY(inotify_rm_watch, fd, 1);
	return 0;
}
