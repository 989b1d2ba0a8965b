/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pipes, sockets and eventfds in an epoll, by chance: which are told, and in which order. */
#include "native.h"
#include <sys/epoll.h>
#include <sys/socket.h>

#define FILES 6
static int in[FILES], out[FILES];

int main(void)
{
	static const u32 wanted[] = { EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP, 0 };
	static char room[5000];
	int ep = MUST(epoll_create1, 0);
	handle(SIGPIPE, SIG_IGN, 0);
	for (int i = 0; i < FILES; i++) {
		int two[2];

		if (i < 2)
			MUST(pipe2, two, O_NONBLOCK);
		else if (i < 5)
			MUST(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two);
		else
			two[0] = two[1] = MUST(eventfd2, 0, 04000);
		in[i] = two[0], out[i] = two[1];
	}
	for (int line = 0; line < 150; line++) {
		for (int i = 0; i < 6; i++) {
			int n = chance(FILES), fd = chance(4) ? in[n] : out[n];
			struct epoll_event e = { wanted[chance(COUNT(wanted))], { .u64 = n * 10 + (fd == out[n]) } };

			if (chance(3) == 0)
				e.events |= EPOLLET;
			if (chance(5) == 0)
				e.events |= EPOLLONESHOT;
			switch (chance(6)) {
			case 0:
				print(" a%ld", SYS(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &e));
				break;
			case 1:
				print(" m%ld", SYS(epoll_ctl, ep, EPOLL_CTL_MOD, fd, &e));
				break;
			case 2:
				if (chance(3) == 0)
					print(" d%ld", SYS(epoll_ctl, ep, EPOLL_CTL_DEL, fd, &e));
				break;
			case 3:
			case 4:
				print(" w%ld", SYS(write, out[n], room, n == 5 ? 8 : 1 + chance(20)));
				break;
			default:
				print(" r%ld", SYS(read, in[n], room, n == 5 ? 8 : 1 + chance(40)));
			}
		}
		if (chance(40) == 0) {
			int n = 2 + chance(3);

			print(" s%ld", SYS(shutdown, chance(2) ? in[n] : out[n], chance(3)));
		}
		for (int i = chance(3); i >= 0; i--) {
			struct epoll_event got[8];
			long n = SYS(epoll_wait, ep, got, 1 + chance(8), 0);

			print(" |");
			for (long k = 0; k < n; k++)
				print(" %d:%x", (int)got[k].data.u64, got[k].events);
		}
		print("\n");
	}
	return 0;
}
