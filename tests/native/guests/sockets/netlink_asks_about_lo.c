/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NETLINK_ROUTE: lo by index and by name, what there is not, acknowledgements; ports and their errors. */
#include "net.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static int fd;

static void ask(int type, int flags, const void *body, int size)
{
	struct {
		struct nlmsghdr head;
		char body[64];
	} request = { .head = { 0, type, flags, 7, 0 } };
	static struct {
		struct nlmsghdr head;
		char body[16384];
	} answer;

	request.head.nlmsg_len = sizeof(request.head) + size;
	memcpy(request.body, body, size);
	show("sendto", SYS(sendto, fd, &request, request.head.nlmsg_len, 0, NULL, 0));
	long got = SYS(recvfrom, fd, &answer, sizeof(answer), MSG_DONTWAIT, NULL, NULL);
	if (failed(got)) {
		print("  %s\n", result_name(got));
		return;
	}
	print("  type %d, flags %x, sequence %d\n", answer.head.nlmsg_type, answer.head.nlmsg_flags, answer.head.nlmsg_seq);
	if (answer.head.nlmsg_type == NLMSG_ERROR)
		print("  %s, %d bytes\n", result_name(*(int *)answer.body), answer.head.nlmsg_len);
	if (answer.head.nlmsg_type == RTM_NEWLINK) {
		struct ifinfomsg *link = (void *)answer.body;

		print("  kind %d, index %d, flags %x\n", link->ifi_type, link->ifi_index, link->ifi_flags);
		print("  name %s\n", answer.body + sizeof(*link) + 4);
	}
}

int main(void)
{
	struct {
		struct ifinfomsg link;
		struct rtattr head;
		char name[4];
	} by_name = { .head = { 7, IFLA_IFNAME }, .name = "lo" };
	struct ifinfomsg first = { .ifi_index = 1 }, none = { .ifi_index = 99999 }, nothing = { 0 };
	struct sockaddr_nl any = { .nl_family = AF_NETLINK }, wrong = { .nl_family = AF_INET };
	int size = sizeof(any);

	SHOW(socket, AF_NETLINK, SOCK_STREAM, 0);
	SHOW(socket, AF_NETLINK, SOCK_RAW, 31);
	fd = MUST(socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	SHOW(bind, fd, &wrong, sizeof(wrong));
	SHOW(bind, fd, &any, 8);
	SHOW(bind, fd, &any, sizeof(any));
	SHOW(getsockname, fd, &any, &size);
	print("  %d bytes, port %s\n", size, any.nl_pid == (u32)SYS(getpid) ? "my pid" : "another");
	SHOW(bind, MUST(socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), &any, sizeof(any));
	any.nl_pid++;
	SHOW(bind, fd, &any, sizeof(any));
	ask(RTM_GETLINK, NLM_F_REQUEST, &first, sizeof(first));
	ask(RTM_GETLINK, NLM_F_REQUEST, &by_name, sizeof(by_name));
	ask(RTM_GETLINK, NLM_F_REQUEST, &none, sizeof(none));
	ask(RTM_GETLINK, NLM_F_REQUEST, &nothing, sizeof(nothing));
	ask(RTM_GETLINK, 0, &first, sizeof(first));
	ask(1000, NLM_F_REQUEST, &first, 0);
	ask(NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, &first, 0);
	SHOW(sendto, fd, "", 0, 0, NULL, 0);
	SHOW(sendto, fd, "short", 5, 0, NULL, 0);
	SHOW(sendto, fd, "x", 1, MSG_OOB, NULL, 0);
	take(fd, 9, 0);
	events(fd);
	return 0;
}
