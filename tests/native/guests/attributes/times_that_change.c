/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of a file's and its directory's times each call changes. */
#include "native.h"

static struct stat file, dir;
static const char *path = "d/f";
static void look(struct stat *f, struct stat *d)
{
	memset(f, 0, sizeof(*f));
	SYS(lstat, path, f);
	MUST(stat, "d", d);
}
static int other(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
}
static void changed(const char *what)
{
	struct stat f, d;

	look(&f, &d);
	print("%s: file", what);
	if (!f.st_ino || !file.st_ino)
		print(" none");
	else
		print("%s%s%s", other(f.st_atim, file.st_atim) ? " atime" : "", other(f.st_mtim, file.st_mtim) ? " mtime" : "",
			  other(f.st_ctim, file.st_ctim) ? " ctime" : "");
	print(", directory%s%s%s\n", other(d.st_atim, dir.st_atim) ? " atime" : "", other(d.st_mtim, dir.st_mtim) ? " mtime" : "",
		  other(d.st_ctim, dir.st_ctim) ? " ctime" : "");
}
#define TRY(name, ...)																		\
	do {																					  \
		look(&file, &dir);																	\
		sleep_ms(12);																		 \
		print("%s ", result_name(SYS(name, ##__VA_ARGS__)));								  \
		changed(#name "(" #__VA_ARGS__ ")");												  \
	} while (0)

int main(void)
{
	char text[512];
	MUST(mkdir, "d", 0755);
	TRY(open, "d/f", O_RDWR | O_CREAT, 0644);
	TRY(write, 3, "abc", 3);
	TRY(write, 3, "", 0);
	TRY(pread64, 3, text, 3, 0);
	TRY(pread64, 3, text, 3, 0);
	TRY(pread64, 3, text, 0, 0);
	TRY(ftruncate, 3, 3);
	TRY(ftruncate, 3, 1);
	TRY(truncate, path, 1);
	TRY(open, path, O_RDONLY);
	TRY(open, path, O_RDWR | O_TRUNC);
	TRY(chmod, path, 0644);
	TRY(chown, path, -1, -1);
	TRY(link, path, "d/g");
	TRY(unlink, "d/g");
	TRY(rename, path, path);
	TRY(rename, path, "d/h");
	TRY(rename, "d/h", path);
	TRY(stat, path, text);
	TRY(access, path, 0);
	TRY(fallocate, 3, 0, 0, 10);
	TRY(fallocate, 3, 1, 0, 10);
	TRY(utimensat, AT_FDCWD, path, NULL, 0);
	TRY(open, "d", O_RDONLY);
	TRY(getdents64, 7, text, sizeof(text));
	TRY(mkdir, "d/sub", 0755);
	TRY(rmdir, "d/sub");
	TRY(symlink, "x", "d/link");
	TRY(readlink, "d/link", text, 8);
	TRY(unlink, "d/link");
	TRY(mknod, "d/fifo", S_IFIFO | 0600, 0);
	TRY(rename, "d/fifo", path);
	TRY(unlink, path);
	return 0;
}
