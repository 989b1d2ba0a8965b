/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A userfaultfd, and a thread that answers it. The ABI is that of include/uapi/linux/userfaultfd.h of Linux 6.18. */
#ifndef UFFD_H
#define UFFD_H

#include <sys/ioctl.h>

#include "pages.h"

struct uffd_api {
	u64 api, features, ioctls;
};
struct uffd_register {
	u64 start, len, mode, ioctls;
};
struct uffd_copy { /* and of a move */
	u64 dst, src, len, mode;
	long copy;
};
struct uffd_three { /* a range and a mode; zeropage, continue and poison have a result behind */
	u64 start, len, mode;
	long done;
};
struct uffd_message {
	u8 event, pad[7];
	u64 flags, address, ptid;
};

#define API _IOWR(0xAA, 0x3F, struct uffd_api)
#define REGISTER _IOWR(0xAA, 0, struct uffd_register)
#define UNREGISTER _IOR(0xAA, 1, u64[2])
#define WAKE _IOR(0xAA, 2, u64[2])
#define COPY _IOWR(0xAA, 3, struct uffd_copy)
#define ZEROPAGE _IOWR(0xAA, 4, struct uffd_three)
#define MOVE _IOWR(0xAA, 5, struct uffd_copy)
#define WRITEPROTECT _IOWR(0xAA, 6, u64[3])
#define CONTINUE _IOWR(0xAA, 7, struct uffd_three)
#define POISON _IOWR(0xAA, 8, struct uffd_three)

enum { MISSING = 1, WP = 2, MINOR = 4 };
enum { DONTWAKE = 1, COPY_WP = 2 };
enum { PROTECT = 1, PROTECT_DONTWAKE = 2, HOLES = 2 };
#define F_SIGBUS (1UL << 7)
#define F_THREAD_ID (1UL << 8)
#define F_EXACT (1UL << 11)
#define F_UNPOPULATED (1UL << 13)
#define F_ASYNC (1UL << 15)

/* An open userfaultfd with these features. */
UNUSED static int uffd_open(u64 features)
{
	int fd = MUST(userfaultfd, O_NONBLOCK);
	struct uffd_api api = { .api = 0xAA, .features = features };

	MUST(ioctl, fd, API, &api);
	return fd;
}

UNUSED static long uffd_register(int fd, void *start, u64 pages, u64 mode)
{
	struct uffd_register r = { (u64)start, pages * PAGE, mode, 0 };

	return SYS(ioctl, fd, REGISTER, &r);
}

/* Prints the result of an ioctl that tells how far it got. */
UNUSED static long uffd_said(const char *what, long result, long done)
{
	if (done < 0)
		print("%s = %s, %s\n", what, result_name(result), errno_name(-done));
	else
		print("%s = %s, %ld\n", what, result_name(result), done);
	return result;
}

UNUSED static long uffd_copy(int fd, void *dst, const void *src, u64 len, u64 mode)
{
	struct uffd_copy c = { (u64)dst, (u64)src, len, mode, -99 };
	long r = SYS(ioctl, fd, COPY, &c);

	return uffd_said("copy", r, c.copy);
}

UNUSED static long uffd_move(int fd, void *dst, const void *src, u64 len, u64 mode)
{
	struct uffd_copy c = { (u64)dst, (u64)src, len, mode, -99 };
	long r = SYS(ioctl, fd, MOVE, &c);

	return uffd_said("move", r, c.copy);
}

UNUSED static long uffd_three(const char *what, int fd, u64 request, void *start, u64 len, u64 mode)
{
	struct uffd_three t = { (u64)start, len, mode, -99 };
	long r = SYS(ioctl, fd, request, &t);

	return uffd_said(what, r, t.done);
}

UNUSED static long uffd_protect(int fd, void *start, u64 len, u64 mode)
{
	u64 t[3] = { (u64)start, len, mode };

	return SYS(ioctl, fd, WRITEPROTECT, t);
}

/* The next message, waited for; its address as a distance from base. */
UNUSED static struct uffd_message uffd_next(int fd, void *base)
{
	struct uffd_message m;
	struct pollfd p = { fd, POLLIN, 0 };
	long n = SYS(poll, &p, 1, 5000);

	memset(&m, 0, sizeof(m));
	if (n != 1) {
		print("no message\n");
		return m;
	}
	MUST(read, fd, &m, sizeof(m));
	print("event %x flags %lx page %ld+%ld\n", m.event, m.flags, (long)(m.address - (u64)base) / 4096,
	      (long)(m.address - (u64)base) % 4096);
	return m;
}

#endif
