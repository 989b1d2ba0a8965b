/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fanotify_init(2), fanotify_mark(2): flags, rights, kinds. */
// since: 6.18
// needs: root
#include "native.h"
#include "fanotify.h"

static void init(u32 flags, u32 event_flags)
{
	long fd = SYS(fanotify_init, flags, event_flags);
	print("%x %o: %s\n", flags, event_flags, result_name(fd));
	SYS(close, fd);
}

static void all(void)
{
	u32 flags[] = { 0, 1, 2, 4, 8, 12, 0x10, 0x20, 0x40, 0x80, 0x100, 0x180, 0x200, 0x204, 0x400, 0x800, 0xc00, 0xe00,
			0x1000, 0x1600, 1 << 16, 0x201, 0x210 };
	for (u32 n = 0; n < COUNT(flags); n++)
		init(flags[n], 0);
	for (u32 bit = 0; bit < 24; bit++)
		init(0x200, 1 << bit);
	init(0x200, 3);
}

int main(void)
{
	put("file", "x");
	MUST(mkdir, "dir", 0700);
	all();
	int fd = MUST(fanotify_init, 0, O_RDONLY), fid = MUST(fanotify_init, 0x200 | 0xc00, O_RDONLY);
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, 0, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, 1UL << 32, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, 0x2000, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, 0, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, 1 << 20, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, 99, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, 0, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "nothing");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, NOWHERE);
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, 99, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_RENAME, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE, FAN_ACCESS, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
	SHOW(fanotify_mark, fd, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, AT_FDCWD, NULL);
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x420, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x400, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x440, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x20, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x10, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_REMOVE | 0x10, FAN_OPEN, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x110, FAN_OPEN, AT_FDCWD, "dir");
	int fds[2];
	MUST(pipe, fds);
	SHOW(fanotify_mark, fd, FAN_MARK_ADD | 0x10, FAN_OPEN, fds[0], NULL);
	SHOW(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, fds[0], NULL);
	SHOW(fanotify_mark, fid, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "dir");
	SHOW(fanotify_mark, fid, FAN_MARK_ADD | 0x10, FAN_CREATE, AT_FDCWD, "dir");
	char byte;
	SHOW(write, fd, &byte, 1);
	SHOW(lseek, fd, 0, SEEK_SET);
	MUST(chmod, "file", 0);
	become(1000);
	all();
	SHOW(fanotify_mark, fid, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "file");
	SHOW(fanotify_mark, fid, FAN_MARK_ADD | 0x100, FAN_OPEN, AT_FDCWD, ".");
	return 0;
}
