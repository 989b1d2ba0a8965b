/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memfd_create(2) and its seals. */
#include "native.h"

static char name[300];

int main(void)
{
	memset(name, 'n', 250);
	SHOW(memfd_create, name, 0);
	name[249] = 0;
	SHOW(memfd_create, name, 0);
	SHOW(memfd_create, NOWHERE, 0);
	SHOW(memfd_create, "m", 0x1000);
	SHOW(memfd_create, NOWHERE, 0x1000);
	int plain = SHOW(memfd_create, "plain", MFD_CLOEXEC), fd = SHOW(memfd_create, "m", MFD_ALLOW_SEALING);
	SHOW(fcntl, plain, F_GET_SEALS);
	SHOW(fcntl, plain, F_ADD_SEALS, F_SEAL_WRITE);
	SHOW(fcntl, plain, F_GETFD);
	SHOW(fcntl, fd, F_GET_SEALS);
	SHOW(write, fd, "0123456789", 10);
	SHOW(fcntl, fd, F_ADD_SEALS, 0x1000);
	SHOW(fcntl, fd, F_ADD_SEALS, F_SEAL_GROW);
	SHOW(write, fd, "a", 1);
	SHOW(ftruncate, fd, 20);
	SHOW(ftruncate, fd, 5);
	SHOW(fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK);
	SHOW(ftruncate, fd, 1);
	void *map = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SHOW(fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE);
	MUST(munmap, map, PAGE);
	SHOW(fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE);
	SHOW(pwrite64, fd, "a", 1, 0);
	SHOW(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	DO(mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	SHOW(fallocate, fd, 3, 0, 1);
	SHOW(fcntl, fd, F_ADD_SEALS, F_SEAL_SEAL);
	SHOW(fcntl, fd, F_ADD_SEALS, 0);
	SHOW(fcntl, fd, F_GET_SEALS);
	int none;
	SHOW(pipe2, &none, -1);
	put("file", "x");
	SHOW(fcntl, MUST(open, "file", O_RDWR), F_GET_SEALS);
	return 0;
}
