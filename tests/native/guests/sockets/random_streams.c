/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two stream sockets and two of messages, by chance: peeking, shutting down, descriptors. */
#include "native.h"
#include <sys/socket.h>

static char room[2000];
static u32 sum(const char *p, long n)
{
	u32 s = 1;

	for (long i = 0; i < n; i++)
		s = s * 31 + (u8)p[i];
	return s & 0xffff;
}

int main(void)
{
	static const int kinds[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	static const int flags[] = { 0, 0, MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT, MSG_WAITALL };
	int s[3][2];
	for (u32 i = 0; i < sizeof(room); i++)
		room[i] = i * 7;
	handle(SIGPIPE, SIG_IGN, 0);
	for (int i = 0; i < 3; i++)
		MUST(socketpair, AF_UNIX, kinds[i] | SOCK_NONBLOCK, 0, s[i]);
	for (int line = 0; line < 120; line++) {
		for (int i = 0; i < 8; i++) {
			int k = chance(3), fd = s[k][chance(2)], n = chance(4) ? chance(300) : 0, value = 0;
			struct iovec v[2] = { { room, n / 2 }, { room + 500, n } };
			struct msghdr m = { .msg_iov = v, .msg_iovlen = 1 + chance(2) };
			struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
			long result;

			switch (chance(9)) {
			case 0:
				print(" w%ld", SYS(write, fd, room + chance(100), n));
				break;
			case 1:
				print(" s%ld", SYS(sendto, fd, room + chance(100), n, MSG_NOSIGNAL, NULL, 0));
				break;
			case 2:
				print(" S%ld", SYS(sendmsg, fd, &m, 0));
				break;
			case 3:
				result = SYS(read, fd, room + 1000, n);
				print(" r%ld.%x", result, sum(room + 1000, result));
				break;
			case 4:
			case 5:
				result = SYS(recvfrom, fd, room + 1000, n, flags[chance(COUNT(flags))], NULL, NULL);
				print(" g%ld.%x", result, sum(room + 1000, result < n ? result : n));
				break;
			case 6:
				result = SYS(recvmsg, fd, &m, flags[chance(COUNT(flags))]);
				print(" G%ld.%x", result, m.msg_flags);
				break;
			case 7:
				SYS(ioctl, fd, 0x541b, &value);
				SYS(poll, &p, 1, 0);
				print(" n%d.%x", value, p.revents);
				break;
			default:
				if (chance(30) == 0) {
					print(" h%ld", SYS(shutdown, fd, chance(3)));
				} else if (chance(60) == 0) {
					print(" c%ld", SYS(close, fd));
					SYS(socketpair, AF_UNIX, kinds[k] | SOCK_NONBLOCK, 0, s[k]);
				}
			}
		}
		print("\n");
	}
	return 0;
}
