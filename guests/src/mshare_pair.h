/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mshare_donor and mshare_consumer have in common: the region's name, who
 * writes what where, and the consumer itself, which the donor also runs as a
 * forked child when it is given no other program.
 */
#ifndef MSHARE_PAIR_H
#define MSHARE_PAIR_H

#include "mshare.h"

#define REGION MSHARE_ROOT "shareme"
#define TEXT "Some random shared text"
#define REPLY "And a reply"

/* Opens the region and maps it wherever the kernel likes, reads the text, leaves a reply. */
static inline int consume(void)
{
	u64 unit = mshare_unit();
	struct stat stat;
	char *window;
	int fd;

	/* O_RDWR: a shared writable mapping of a file that is open for reading only is EACCES. */
	fd = must(sys_open(REGION, O_RDWR, 0), "open " REGION);
	must(sys_fstat(fd, &stat), "fstat " REGION);
	if (stat.st_size == 0)
		die("the region has no size yet", EINVAL);
	print("consumer: the region has %lu units\n", stat.st_size / unit);

	window = (char *)must(sys_mmap(0, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
			      "mmap " REGION);
	check("consumer: the window is aligned to the unit", (u64)window % unit == 0);
	print("consumer: the first unit says \"%s\"\n", window);
	memcpy(window + unit, REPLY, sizeof(REPLY));

	must(sys_munmap((u64)window, stat.st_size), "munmap");
	sys_close(fd);
	return guest_wrong != 0;
}

#endif
