/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl(2): what every file answers. */
#include "native.h"
#include <sys/ioctl.h>
#include <linux/fs.h>

int main(void)
{
	int fds[2], number = 1;
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR);
	MUST(pipe2, fds, 0);
	SHOW(ioctl, fd, FIOCLEX);
	SHOW(fcntl, fd, F_GETFD);
	SHOW(ioctl, fd, FIONCLEX);
	SHOW(fcntl, fd, F_GETFD);
	SHOW(ioctl, fds[0], FIONBIO, &number);
	SHOW(read, fds[0], &number, 4);
	SHOW(ioctl, fds[0], FIONBIO, NOWHERE);
	SHOW(ioctl, fd, FIONREAD, &number);
	SAY(number);
	MUST(write, fds[1], "abc", 3);
	SHOW(ioctl, fds[0], FIONREAD, &number);
	SAY(number);
	SHOW(ioctl, fds[0], FIONREAD, NOWHERE);
	SHOW(ioctl, fd, TCGETS, NOWHERE);
	SHOW(ioctl, fds[0], TCGETS, NOWHERE);
	SHOW(ioctl, fd, 0x12345678, 0);
	SHOW(ioctl, 99, 0x12345678, 0);
	SHOW(ioctl, MUST(open, "file", O_PATH), FIOCLEX);
	SHOW(ioctl, MUST(open, ".", O_RDONLY), FIONREAD, &number);
	return 0;
}
