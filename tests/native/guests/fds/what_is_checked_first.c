/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of two mistakes a call tells of. */
#include "native.h"
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <linux/falloc.h>

#define COMPAT 0x80000000u

int main(void)
{
	long *readonly = (long *)MUST(mmap, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *high = (void *)(1L << 47), *top = (void *)-4096L;
	struct iovec bad = {top, 8};
	struct timeval now = {0, 0};
	struct timespec soon = {0, 0};
	int fds[2], pair[2];
	char text[8] = "";
	long offset = 0;
	fd_set in, out;

	put("from", "0123456789");
	int file = MUST(open, "from", O_RDWR), path = MUST(open, "from", O_PATH);
	MUST(pipe2, fds, O_NONBLOCK);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	int event = MUST(eventfd2, 0, 0), timer = MUST(timerfd_create, CLOCK_MONOTONIC, 0);
	print("sendfile\n");
	SHOW(sendfile, 99, 98, high, 1);
	SHOW(sendfile, 99, event, NOWHERE, 1);
	SHOW(sendfile, event, event, readonly, 1);
	SHOW(sendfile, 99, file, readonly, 1);
	SHOW(sendfile, 99, file, &offset, 1);
	SAY(offset);
	print("sockets\n");
	SHOW(sendto, 99, top, -1, 0, NULL, 0);
	SHOW(sendto, 99, "a", 1, 0, NOWHERE, 8);
	SHOW(sendto, file, top, 1, 0, NULL, 0);
	SHOW(recvfrom, file, top, 1, 0, NULL, NULL);
	SHOW(recvfrom, 99, high, 0, 0, NULL, NULL);
	SHOW(connect, file, NOWHERE, 8);
	SHOW(connect, file, NULL, 4096);
	SHOW(connect, 99, NULL, 4096);
	SHOW(sendmsg, 99, NULL, COMPAT);
	SHOW(recvmsg, file, NULL, COMPAT);
	SHOW(sendmmsg, 99, NULL, 1, COMPAT);
	SHOW(recvmmsg, 99, NULL, 1, COMPAT, NULL);
	SHOW(recvmmsg, 99, NULL, 1, 0, NOWHERE);
	soon.tv_nsec = -1;
	SHOW(recvmmsg, 99, NULL, 1, 0, &soon);
	SHOW(accept4, 99, NULL, NULL, 1);
	SHOW(accept4, file, NULL, NULL, 1);
	SHOW(getrandom, high, 0, 0);
	print("vectors\n");
	struct iovec vector[2] = {{high, 8}, {text, -1L}};
	SHOW(writev, file, vector, 2);
	SHOW(writev, 99, NOWHERE, 1);
	SHOW(writev, fds[0], NOWHERE, 1);
	SHOW(readv, fds[1], NOWHERE, 1);
	SHOW(preadv, path, NOWHERE, 1, 0, 0);
	SHOW(pwritev, 99, NOWHERE, 1, 0, 0);
	SHOW(pwrite64, MUST(open, "from", O_RDONLY), top, 1, 0);
	SHOW(copy_file_range, file, NOWHERE, file, NULL, 1, 77);
	SHOW(copy_file_range, 99, NOWHERE, file, NULL, 1, 77);
	print("select\n");
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(path, &in);
	FD_SET(path, &out);
	SHOW(select, path + 1, &in, &out, NULL, &now);
	SAY(FD_ISSET(path, &in));
	SAY(FD_ISSET(path, &out));
	FD_SET(60, &in);
	SHOW(select, 61, &in, &out, NULL, &now);
	print("attributes\n");
	SHOW(fsetxattr, 99, "user.a", "b", 1, 77);
	SHOW(fsetxattr, 99, NOWHERE, "b", 1, 0);
	SHOW(fsetxattr, 99, "user.a", NOWHERE, 1, 0);
	SHOW(fsetxattr, 99, "user.a", "b", 65537, 0);
	SHOW(fgetxattr, 99, NOWHERE, NULL, 0);
	SHOW(fremovexattr, 99, NOWHERE);
	print("limits\n");
	SHOW(prlimit64, -2, 99, NULL, NULL);
	SHOW(prlimit64, -2, 99, NOWHERE, NULL);
	SHOW(prlimit64, 0, 99, NULL, NULL);
	print("others\n");
	SHOW(fallocate, timer, 0x8008, 0, 1);
	SHOW(fallocate, file, FALLOC_FL_PUNCH_HOLE, 0, 1);
	SHOW(fallocate, file, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096);
	SHOW(fallocate, timer, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE, 0, 1);
	SHOW(readahead, file, 0, -1L);
	SHOW(readahead, file, -1L, 1);
	SHOW(vmsplice, file, NOWHERE, 1, 0);
	SHOW(vmsplice, file, &bad, 1, 0);
	SHOW(vmsplice, pair[0], NOWHERE, 1, 0);
	SHOW(vmsplice, pair[0], &bad, 0, 0);
	return 0;
}
