/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stat(2), lstat(2), fstat(2): what they say of each kind of file. */
#include "native.h"

static void tell(const char *name, long result, struct stat *st)
{
	print("%s: %s", name, result_name(result));
	if (!result)
		print(" %o links %ld size %ld block %ld", st->st_mode, S_ISDIR(st->st_mode) ? 0 : (long)st->st_nlink,
			  S_ISDIR(st->st_mode) ? 0 : (long)st->st_size, (long)st->st_blksize);
	print("\n");
}

int main(void)
{
	struct stat st;
	int fds[2];
	put("file", "text");
	MUST(symlink, "file", "link");
	MUST(mkdir, "dir", 0750);
	MUST(mknod, "fifo", S_IFIFO | 0640, 0);
	MUST(pipe2, fds, 0);
	tell("file", SYS(stat, "file", &st), &st);
	tell("link", SYS(stat, "link", &st), &st);
	tell("link itself", SYS(lstat, "link", &st), &st);
	tell("dir", SYS(stat, "dir", &st), &st);
	tell("fifo", SYS(stat, "fifo", &st), &st);
	tell("pipe", SYS(fstat, fds[0], &st), &st);
	tell("O_PATH", SYS(fstat, MUST(open, "link", O_PATH | O_NOFOLLOW), &st), &st);
	SHOW(stat, "missing", &st);
	SHOW(lstat, "missing", &st);
	SHOW(stat, "file", NOWHERE);
	SHOW(stat, "missing", NOWHERE);
	SHOW(lstat, "link", NOWHERE);
	SHOW(lstat, NOWHERE, &st);
	SHOW(stat, "", &st);
	SHOW(lstat, "", &st);
	SHOW(lstat, "link/", &st);
	SHOW(stat, "file/", &st);
	SHOW(fstat, 99, &st);
	SHOW(fstat, 99, NOWHERE);
	SHOW(fstat, fds[0], NOWHERE);
	return 0;
}
