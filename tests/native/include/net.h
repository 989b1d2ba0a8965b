/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guests about sockets need besides native.h. */
#ifndef NET_H
#define NET_H

#include "native.h"
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address of 127.0.0.1 with this port. */
UNUSED static struct sockaddr_in local(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	address.sin_port = __builtin_bswap16(port);
	address.sin_addr.s_addr = __builtin_bswap32(INADDR_LOOPBACK);
	return address;
}

/* The port of a socket. */
UNUSED static int port_of(int fd)
{
	struct sockaddr_in6 address;
	int length = sizeof(address);

	MUST(getsockname, fd, &address, &length);
	return __builtin_bswap16(address.sin6_port);
}

/* A socket that listens on a port of 127.0.0.1. */
UNUSED static int listener(int backlog)
{
	struct sockaddr_in any = local(0);
	int fd = MUST(socket, AF_INET, SOCK_STREAM, 0);

	MUST(bind, fd, &any, sizeof(any));
	MUST(listen, fd, backlog);
	return fd;
}

/* Both ends of a TCP connection. */
UNUSED static void tcp_pair(int *s)
{
	int fd = listener(1);
	struct sockaddr_in address = local(port_of(fd));

	s[0] = MUST(socket, AF_INET, SOCK_STREAM, 0);
	MUST(connect, s[0], &address, sizeof(address));
	s[1] = MUST(accept, fd, NULL, NULL);
	MUST(close, fd);
}

/* What poll(2) says of a descriptor now. */
UNUSED static void events(int fd)
{
	static const struct {
		int bit;
		const char *name;
	} names[] = {
		{ POLLIN, "IN" },	  { POLLPRI, "PRI" },	    { POLLOUT, "OUT" },	      { POLLERR, "ERR" },
		{ POLLHUP, "HUP" },	  { POLLNVAL, "NVAL" },	    { POLLRDNORM, "RDNORM" }, { POLLRDBAND, "RDBAND" },
		{ POLLWRNORM, "WRNORM" }, { POLLWRBAND, "WRBAND" }, { 0x2000, "RDHUP" },
	};
	struct pollfd polled = { fd, ~0, 0 };

	MUST(poll, &polled, 1, 0);
	print("  events:");
	for (u32 i = 0; i < COUNT(names); i++)
		if (polled.revents & names[i].bit)
			print(" %s", names[i].name);
	print("\n");
}

/* Receives without waiting, and prints what comes. */
UNUSED static long take(int fd, int size, int flags)
{
	char data[64] = "";
	long got = SYS(recvfrom, fd, data, size, flags | MSG_DONTWAIT, NULL, NULL);

	data[got > 0 && got < 64 ? got : 0] = 0;
	print("  take %d bytes, flags %x: %s", size, flags, failed(got) ? result_name(got) : "");
	if (failed(got))
		print("\n");
	else
		print("%ld \"%s\"\n", got, data);
	return got;
}

/* Sends a descriptor along with a byte. */
UNUSED static long send_fd(int to, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec byte = { "d", 1 };
	struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control };

	message.msg_controllen = sizeof(control);
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return SYS(sendmsg, to, &message, 0);
}

/* An option that is an int, set and shown. */
#define SET(fd, level, name, value) \
	show("setsockopt " #level " " #name " " #value, SYS(setsockopt, fd, level, name, &(int){ value }, sizeof(int)))
#define GET(fd, level, name)                                                                           \
	do {                                                                                           \
		int value_ = 0, size_ = sizeof(value_);                                                \
		show("getsockopt " #level " " #name, SYS(getsockopt, fd, level, name, &value_, &size_)); \
		print("  %d\n", value_);                                                               \
	} while (0)

#endif
