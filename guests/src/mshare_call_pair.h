/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mshare_call_donor and mshare_call_consumer have in common; see
 * mshare_pair.h, which is the same for the other interface.
 */
#ifndef MSHARE_CALL_PAIR_H
#define MSHARE_CALL_PAIR_H

#include "mshare.h"

#define NAME "testregion"
#define REGION MSHARE_ROOT NAME
#define EARLY "written before mshare()"
#define LATE "written after mshare()"
#define REPLY "written by the consumer"

/* Where each text stands: each in a page of its own. */
#define EARLY_AT 0
#define LATE_AT PAGE_SIZE
#define REPLY_AT (2 * PAGE_SIZE)

/* Asks the region's file where the region is, attaches to it, reads, replies and lets go. */
static inline int consume(void)
{
	struct mshare_info info;
	int fd = must(sys_open(REGION, O_RDONLY, 0), "open " REGION);
	long n = must(sys_read(fd, &info, sizeof(info)), "read " REGION);
	char *window = (char *)info.start;

	sys_close(fd);
	check("consumer: the file holds 16 bytes", n == sizeof(info));
	print("consumer: the region starts at 0x%lx\n", info.start);

	/* A forked child has the donor's window there; attaching wants the place free. */
	must(sys_munmap(info.start, info.size), "munmap");
	must(sys_mshare(NAME, info.start, info.size, O_RDWR, 0600), "mshare");
	print("consumer: \"%s\"\n", window + EARLY_AT);
	print("consumer: \"%s\"\n", window + LATE_AT);
	memcpy(window + REPLY_AT, REPLY, sizeof(REPLY));

	print("consumer: mshare_unlink: %s\n", result_name(sys_mshare_unlink(NAME)));
	return guest_wrong != 0;
}

#endif
