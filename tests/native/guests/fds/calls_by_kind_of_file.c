/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each call says of each kind of descriptor. */
#include "native.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/file.h>
#include <sys/vfs.h>

static char text[64];
static int nowhere_fd;
#define TRY(name, ...) print(" %s", result_name(SYS(name, ##__VA_ARGS__)))
static void all(const char *kind, int fd)
{
	struct stat st;
	struct flock lock = { .l_type = F_RDLCK };
	struct epoll_event event = { 0, { 0 } };
	struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
	int number, ep = MUST(epoll_create1, 0);

	print("%s:", kind);
	TRY(read, fd, text, 0);
	TRY(write, fd, text, 0);
	TRY(pread64, fd, text, 0, 0);
	TRY(pwrite64, fd, text, 0, 0);
	TRY(lseek, fd, 0, SEEK_CUR);
	TRY(lseek, fd, 0, SEEK_END);
	TRY(lseek, fd, 0, SEEK_DATA);
	print("\n ");
	TRY(fstat, fd, &st);
	TRY(ftruncate, fd, 100);
	TRY(fallocate, fd, 0, 0, 10);
	TRY(fsync, fd);
	TRY(fdatasync, fd);
	TRY(sync_file_range, fd, 0, 0, 0);
	TRY(readahead, fd, 0, 1);
	TRY(fadvise64, fd, 0, 1, 0);
	print("\n ");
	TRY(getdents64, fd, text, 1);
	TRY(fchdir, nowhere_fd);
	TRY(flock, fd, LOCK_SH | LOCK_NB);
	TRY(fcntl, fd, F_GETLK, &lock);
	TRY(fcntl, fd, F_GETFL);
	TRY(fcntl, fd, F_SETFL, O_NONBLOCK);
	TRY(fcntl, fd, F_GETPIPE_SZ);
	TRY(fcntl, fd, F_GET_SEALS);
	print("\n ");
	TRY(ioctl, fd, 0x541b, &number);
	TRY(ioctl, fd, 0x5401, text);
	TRY(ioctl, fd, 0x12345678, 0);
	TRY(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	TRY(mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	TRY(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &event);
	if (!S_ISCHR(st.st_mode)) /* those are the host's own */
		TRY(fchmod, fd, 0700);
	TRY(dup, fd);
	print("\n ");
	TRY(sendto, fd, text, 0, MSG_DONTWAIT, NULL, 0);
	TRY(getsockname, fd, text, &number);
	TRY(tee, fd, fd, 1, 2);
	TRY(inotify_add_watch, fd, ".", 1);
	TRY(timerfd_gettime, fd, text);
	TRY(epoll_wait, fd, text, 1, 0);
	TRY(poll, &p, 1, 0);
	TRY(close, fd);
	print(" %x\n", p.revents);
	MUST(close, ep);
}

int main(void)
{
	u64 mask = 1;
	int fds[2], pair[2];
	put("file", "0123456789");
	MUST(mkdir, "dir", 0755);
	MUST(mknod, "fifo", S_IFIFO | 0600, 0);
	nowhere_fd = 99;
	all("read-only", MUST(open, "file", O_RDONLY));
	all("write-only", MUST(open, "file", O_WRONLY));
	all("both", MUST(open, "file", O_RDWR));
	all("path", MUST(open, "file", O_PATH));
	all("directory", MUST(open, "dir", O_RDONLY));
	all("fifo", MUST(open, "fifo", O_RDWR));
	MUST(pipe2, fds, 0);
	all("pipe", fds[0]);
	MUST(pipe2, fds, 0);
	all("pipe's writing end", fds[1]);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	all("socket", pair[0]);
	all("socket without peer", pair[1]);
	all("datagrams", MUST(socket, AF_UNIX, SOCK_DGRAM, 0));
	all("eventfd", MUST(eventfd2, 0, 04000));
	all("epoll", MUST(epoll_create1, 0));
	all("signalfd", MUST(signalfd4, -1, &mask, 8, 0));
	all("timerfd", MUST(timerfd_create, 1, 0));
	all("inotify", MUST(inotify_init1, 04000));
	all("memfd", MUST(memfd_create, "m", 0));
	all("null", MUST(open, "/dev/null", O_RDWR));
	all("zero", MUST(open, "/dev/zero", O_RDWR));
	all("none", 99);
	return 0;
}
