/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pseudo-terminal is opened, unlocked and named; what its ends know of each other. */
#include "native.h"
#include <asm/ioctls.h>
#include <linux/tty.h>

#define OPENS(fd) print("%s\n", failed(fd) ? errno_name(-(fd)) : "opened")

static void named(char *path, u32 number)
{
	char digits[10];
	int n = 0;

	memcpy(path, "/dev/pts/", 9);
	path += 9;
	do
		digits[n++] = '0' + number % 10;
	while (number /= 10);
	while (n)
		*path++ = digits[--n];
	*path = 0;
}

int main(void)
{
	int master = MUST(open, "/dev/ptmx", O_RDWR | O_NOCTTY), number, value = -1, unlock = 0, on = 1;
	char path[32], buffer[16];
	struct pollfd poll = { master, POLLIN | POLLOUT, 0 };

	MUST(ioctl, master, TIOCGPTN, &number);
	named(path, number);
	OPENS(SYS(open, path, O_RDWR | O_NOCTTY));
	SHOW(ioctl, master, TIOCGPTLCK, &value);
	SAY(value);
	SHOW(ioctl, master, TIOCSPTLCK, &unlock);
	SHOW(ioctl, master, TIOCSPTLCK, NOWHERE);
	SHOW(poll, &poll, 1, 0);
	SAY(poll.revents);
	SHOW(fcntl, master, F_SETFL, O_NONBLOCK);
	SHOW(read, master, buffer, 16);
	int slave = MUST(open, path, O_RDWR | O_NOCTTY);
	int peer = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	OPENS(peer);
	SHOW(ioctl, slave, TIOCGPTN, &number);
	SHOW(ioctl, slave, TIOCGPTPEER, O_RDWR);
	SHOW(ioctl, slave, TIOCGPGRP, &value);
	SHOW(ioctl, slave, TIOCGSID, &value);
	SHOW(ioctl, slave, TIOCSPGRP, &number);
	SHOW(ioctl, slave, TIOCNOTTY);
	SHOW(ioctl, master, TIOCGSID, &value);
	SHOW(ioctl, slave, 0x5499, 0);
	SHOW(lseek, slave, 0, SEEK_CUR);
	SHOW(pread64, slave, buffer, 1, 0);
	SHOW(ioctl, slave, TIOCEXCL);
	SHOW(ioctl, slave, TIOCNXCL);
	SHOW(ioctl, master, TIOCPKT, &on);
	SHOW(ioctl, master, TIOCGPKT, &value);
	SAY(value);
	SHOW(close, slave);
	SHOW(close, peer);
	SHOW(poll, &poll, 1, 100);
	SAY(poll.revents);
	SHOW(read, master, buffer, 16);
	SHOW(close, master);
	OPENS(SYS(open, path, O_RDWR | O_NOCTTY));
	return 0;
}
