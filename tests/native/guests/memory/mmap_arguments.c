/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mmap(2): lengths, flags, descriptors, addresses, in the order in which Linux looks. */
#include "native.h"

int main(void)
{
	put("file", "x");
	int ro = MUST(open, "file", O_RDONLY), rw = MUST(open, "file", O_RDWR), wo = MUST(open, "file", O_WRONLY);
	int path = MUST(open, "file", O_PATH), dir = MUST(open, ".", O_RDONLY), fds[2];
	MUST(pipe2, fds, 0);
	DO(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, 0);
	SHOW(mmap, 0, 0, PROT_READ, MAP_PRIVATE, ro, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, 0, ro, 0);
	SHOW(mmap, 0, 0, PROT_READ, 0, 99, 1);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, 1);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 99, 1);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 99, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, path, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, dir, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fds[0], 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_SHARED, wo, 0);
	SHOW(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, ro, 0);
	SHOW(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, wo, 0);
	DO(mmap, 0, PAGE, PROT_WRITE, MAP_PRIVATE, ro, 0);
	DO(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, rw, 0);
	SHOW(mmap, 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	SHOW(mmap, 0, 1UL << 48, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SHOW(mmap, 0, -1UL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SHOW(mmap, -PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, -PAGE);
	DO(mmap, 0, PAGE, PROT_READ, MAP_SHARED_VALIDATE, ro, 0);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x1000000, ro, 0);
	DO(mmap, 0, PAGE, PROT_READ, MAP_SHARED | 0x1000000, ro, 0);
	return 0;
}
