/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWNET: a loopback of one's own, which is down until somebody takes it up. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static struct sockaddr_in four(u32 ip, u16 port)
{
	struct sockaddr_in found = { AF_INET, __builtin_bswap16(port), { __builtin_bswap32(ip) }, { 0 } };

	return found;
}

static struct sockaddr_in6 six(u16 port)
{
	struct sockaddr_in6 found;

	memset(&found, 0, sizeof(found));
	found.sin6_family = AF_INET6;
	found.sin6_port = __builtin_bswap16(port);
	found.sin6_addr.s6_addr[15] = 1;
	return found;
}

static long bound(int type, u32 ip)
{
	struct sockaddr_in at = four(ip, 4000);
	int fd = MUST(socket, AF_INET, type, 0);
	long result = SYS(bind, fd, &at, sizeof(at));

	SYS(close, fd);
	return result;
}

static long bound6(void)
{
	struct sockaddr_in6 at = six(4000);
	int fd = MUST(socket, AF_INET6, SOCK_STREAM, 0);
	long result = SYS(bind, fd, &at, sizeof(at));

	SYS(close, fd);
	return result;
}

static long connected(int type, u32 ip)
{
	struct sockaddr_in at = four(ip, 4000);
	int fd = MUST(socket, AF_INET, type, 0);
	long result = SYS(connect, fd, &at, sizeof(at));

	SYS(close, fd);
	return result;
}

static long connected6(void)
{
	struct sockaddr_in6 at = six(4000);
	int fd = MUST(socket, AF_INET6, SOCK_STREAM, 0);
	long result = SYS(connect, fd, &at, sizeof(at));

	SYS(close, fd);
	return result;
}

static long sent(void)
{
	struct sockaddr_in at = four(0x7f000001, 4000);
	int fd = MUST(socket, AF_INET, SOCK_DGRAM, 0);
	long result = SYS(sendto, fd, "x", 1, 0, &at, sizeof(at));

	SYS(close, fd);
	return result;
}

/* How many answers of a kind a dump has. */
static int dumped(int kind)
{
	static char text[32768];
	struct { struct nlmsghdr head; struct rtgenmsg body; } request;
	int fd = MUST(socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), number = 0;

	memset(&request, 0, sizeof(request));
	request.head.nlmsg_len = sizeof(request);
	request.head.nlmsg_type = kind;
	request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	MUST(sendto, fd, &request, sizeof(request), 0, NULL, 0);
	for (;;) {
		long n = MUST(recvfrom, fd, text, sizeof(text), 0, NULL, NULL);

		for (struct nlmsghdr *head = (void *)text; (char *)head < text + n;
		     head = (void *)((char *)head + NLMSG_ALIGN(head->nlmsg_len))) {
			if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) {
				MUST(close, fd);
				return number;
			}
			number++;
		}
	}
}

static void look(const char *when, int answers)
{
	struct ifreq request;
	struct ifconf all = { sizeof(request), { (char *)&request } };
	int fd = MUST(socket, AF_INET, SOCK_DGRAM, 0);

	print("%s:\n", when);
	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, "lo", 3);
	MUST(ioctl, fd, SIOCGIFFLAGS, &request);
	print(" flags %x, addresses %d, links %d, routes %d\n", request.ifr_flags, dumped(RTM_GETADDR),
	      dumped(RTM_GETLINK), dumped(RTM_GETROUTE) > 0);
	print(" SIOCGIFADDR %s", result_name(SYS(ioctl, fd, SIOCGIFADDR, &request)));
	MUST(ioctl, fd, SIOCGIFCONF, &all);
	print(", SIOCGIFCONF %d\n", all.ifc_len > 0);
	MUST(close, fd);
	print(" bind %s", result_name(bound(SOCK_STREAM, 0x7f000001)));
	print(" %s", result_name(bound(SOCK_DGRAM, 0x7f000001)));
	print(" %s", result_name(bound(SOCK_STREAM, 0)));
	print(" %s", result_name(bound(SOCK_STREAM, 0x08080808)));
	print(" %s\n", result_name(bound6()));
	if (!answers)
		return;
	print(" connect %s", result_name(connected(SOCK_STREAM, 0x7f000001)));
	print(" %s", result_name(connected(SOCK_DGRAM, 0x7f000001)));
	print(" %s", result_name(connected(SOCK_STREAM, 0x08080808)));
	print(" %s\n", result_name(connected6()));
	print(" send %s\n", result_name(sent()));
}

static void change(int up)
{
	struct ifreq request;
	int fd = MUST(socket, AF_INET, SOCK_DGRAM, 0);

	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, "lo", 3);
	request.ifr_flags = up ? IFF_UP : 0;
	SHOW(ioctl, fd, SIOCSIFFLAGS, &request);
	MUST(close, fd);
}

int main(void)
{
	struct sockaddr_un name = { AF_UNIX, "\0name of the namespaces guest" }, file = { AF_UNIX, "socket" };
	struct sockaddr_in at = four(0x7f000001, 4321);
	int outer, inner, path, own = MUST(open, "/proc/self/ns/net", O_RDONLY);
	char c;

	MUST(unshare, CLONE_NEWNET);
	look("new", 1);
	change(1);
	look("up", 1);
	change(0);
	look("down", 0);
	change(1);
	outer = MUST(socket, AF_INET, SOCK_STREAM, 0);
	MUST(bind, outer, &at, sizeof(at));
	MUST(listen, outer, 1);
	path = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	MUST(bind, path, &name, sizeof(name));
	path = MUST(socket, AF_UNIX, SOCK_DGRAM, 0);
	MUST(bind, path, &file, sizeof(file));
	MUST(unshare, CLONE_NEWNET);
	change(1);
	inner = MUST(socket, AF_INET, SOCK_STREAM, 0);
	SHOW(connect, inner, &at, sizeof(at));
	SHOW(bind, MUST(socket, AF_INET, SOCK_STREAM, 0), &at, sizeof(at));
	SHOW(connect, MUST(socket, AF_UNIX, SOCK_STREAM, 0), &name, sizeof(name));
	inner = MUST(socket, AF_UNIX, SOCK_DGRAM, 0);
	SHOW(connect, inner, &file, sizeof(file));
	SHOW(write, inner, "x", 1);
	SHOW(read, path, &c, 1);
	MUST(unlink, "socket");
	SHOW(setns, own, CLONE_NEWNET);
	become(1000);
	SHOW(unshare, CLONE_NEWNET);
	MUST(unshare, CLONE_NEWUSER | CLONE_NEWNET);
	change(1);
	at = four(0x7f000001, 80);
	SHOW(bind, MUST(socket, AF_INET, SOCK_STREAM, 0), &at, sizeof(at));
	print("raw: %s\n", result_name(SYS(socket, AF_INET, SOCK_RAW, IPPROTO_ICMP)));
	return 0;
}
