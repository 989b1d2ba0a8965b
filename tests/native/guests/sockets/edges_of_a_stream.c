/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EPOLLET on both ends of a stream: which reads and writes make an event. */
#include "net.h"

static int set;

static void look(void)
{
	struct epoll_event found[4];
	long number = SYS(epoll_wait, set, found, 4, 0);

	print("  epoll_wait: %ld", number);
	for (int i = 0; i < number; i++)
		print(" [%d: %x]", found[i].data.fd, found[i].events);
	print("\n");
}

static void watch(int fd, u32 wanted, int name)
{
	struct epoll_event event = { .events = wanted, .data.fd = name };

	MUST(epoll_ctl, set, EPOLL_CTL_ADD, fd, &event);
}

int main(void)
{
	char data[4096];
	int s[2];

	for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
		print("kind %d\n", kind);
		set = MUST(epoll_create1, 0);
		MUST(socketpair, AF_UNIX, kind, 0, s);
		watch(s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 0);
		watch(s[1], EPOLLIN | EPOLLET, 1);
		look();
		look();
		MUST(write, s[1], "ab", 2);
		look();
		MUST(write, s[1], "cd", 2);
		look();
		take(s[0], 1, 0);
		look();
		take(s[0], 9, 0);
		look();
		while (SYS(sendto, s[0], data, sizeof(data), MSG_DONTWAIT, NULL, 0) > 0)
			;
		look();
		SYS(recvfrom, s[1], data, sizeof(data), MSG_DONTWAIT, NULL, NULL);
		look();
		while (SYS(recvfrom, s[1], data, sizeof(data), MSG_DONTWAIT, NULL, NULL) > 0)
			;
		look();
		MUST(shutdown, s[1], SHUT_WR);
		look();
		MUST(close, s[1]);
		look();
		MUST(close, s[0]);
		look();
	}
	return 0;
}
