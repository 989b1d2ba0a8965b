/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks of fcntl(2): between processes, ranges that are cut and joined, what is invalid. */
#include "native.h"

static void ask(int fd, short type, long start, long length)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	long result = SYS(fcntl, fd, F_GETLK, &lock);

	print("%d %ld+%ld: %s %d %ld+%ld\n", type, start, length, result_name(result), lock.l_type, (long)lock.l_start,
		  (long)lock.l_len);
}

static void set(const char *what, int fd, short type, short whence, long start, long length)
{
	struct flock lock = { .l_type = type, .l_whence = whence, .l_start = start, .l_len = length };

	print("%s: %s\n", what, result_name(SYS(fcntl, fd, F_SETLK, &lock)));
}

int main(void)
{
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR), ro = MUST(open, "file", O_RDONLY), wo = MUST(open, "file", O_WRONLY);
	set("write 0+10", fd, F_WRLCK, SEEK_SET, 0, 10);
	set("unlock 4+2", fd, F_UNLCK, SEEK_SET, 4, 2);
	set("read 20 backwards", fd, F_RDLCK, SEEK_SET, 20, -5);
	set("before the start", fd, F_RDLCK, SEEK_SET, 2, -5);
	set("negative", fd, F_RDLCK, SEEK_SET, -1, 1);
	set("whence", fd, F_RDLCK, 7, 0, 1);
	set("type", fd, 7, SEEK_SET, 0, 1);
	set("write on read-only", ro, F_WRLCK, SEEK_SET, 30, 1);
	set("read on write-only", wo, F_RDLCK, SEEK_SET, 30, 1);
	set("end", fd, F_RDLCK, SEEK_END, 0, 0);
	set("too far", fd, F_RDLCK, SEEK_CUR, 0x7fffffffffffffff, 2);
	ask(fd, F_WRLCK, 0, 0);
	long pid = MUST(fork);
	if (!pid) {
		ask(fd, F_WRLCK, 0, 0);
		ask(fd, F_WRLCK, 4, 2);
		ask(fd, F_WRLCK, 5, 0);
		ask(fd, F_RDLCK, 15, 5);
		ask(fd, F_UNLCK, 15, 5);
		set("child 3+1", fd, F_RDLCK, SEEK_SET, 3, 1);
		set("child 4+2", fd, F_WRLCK, SEEK_SET, 4, 2);
		set("child 15+5", fd, F_RDLCK, SEEK_SET, 15, 5);
		MUST(close, wo);
		leave(0);
	}
	reap(pid);
	MUST(close, ro);
	pid = MUST(fork);
	if (!pid) {
		ask(fd, F_WRLCK, 0, 0);
		leave(0);
	}
	reap(pid);
	SHOW(fcntl, fd, F_SETLK, NOWHERE);
	SHOW(fcntl, 99, F_SETLK, NOWHERE);
	return 0;
}
