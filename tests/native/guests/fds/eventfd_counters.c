/* SPDX-License-Identifier: GPL-2.0-or-later */
/* eventfd2(2) and eventfd(2): counters, semaphores, overflow. */
#include "native.h"

int main(void)
{
	u64 value = 5;
	int fd = SHOW(eventfd2, 3, 04000);
	SHOW(read, fd, &value, 8);
	SAY(value);
	SHOW(read, fd, &value, 8);
	SHOW(read, fd, &value, 7);
	value = 4;
	SHOW(write, fd, &value, 8);
	SHOW(write, fd, &value, 7);
	SHOW(write, fd, &value, 16);
	SHOW(read, fd, &value, 16);
	SAY(value);
	value = -1;
	SHOW(write, fd, &value, 8);
	value = -2;
	SHOW(write, fd, &value, 8);
	value = 1;
	SHOW(write, fd, &value, 8);
	struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
	SHOW(poll, &p, 1, 0);
	print("%x\n", p.revents);
	SHOW(read, fd, NOWHERE, 8);
	SHOW(write, fd, NOWHERE, 8);
	int sem = SHOW(eventfd2, 2, 1 | 04000);
	SHOW(read, sem, &value, 8);
	SAY(value);
	SHOW(read, sem, &value, 8);
	SHOW(read, sem, &value, 8);
	SHOW(eventfd2, 0, 2);
	SHOW(eventfd, 1);
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(pread64, fd, &value, 8, 0);
	return 0;
}
