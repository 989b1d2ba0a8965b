/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendmmsg(2) and recvmmsg(2). */
#include "native.h"
#include <sys/socket.h>

int main(void)
{
	int s[2];
	char one[4] = "ab", two[4] = "cde", got[3][8];
	struct iovec out[2] = { { one, 2 }, { two, 3 } }, in[3] = { { got[0], 8 }, { got[1], 8 }, { got[2], 8 } };
	struct mmsghdr m[3];
	struct timespec bad = { 0, -1 };
	memset(m, 0, sizeof(m));
	MUST(socketpair, AF_UNIX, SOCK_DGRAM, 0, s);
	for (int i = 0; i < 2; i++)
		m[i].msg_hdr.msg_iov = &out[i], m[i].msg_hdr.msg_iovlen = 1;
	SHOW(sendmmsg, s[0], m, 2, 0);
	print("%u %u\n", m[0].msg_len, m[1].msg_len);
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr.msg_iov = &in[i], m[i].msg_hdr.msg_iovlen = 1;
	SHOW(recvmmsg, s[1], m, 3, MSG_DONTWAIT, NULL);
	print("%u %u\n", m[0].msg_len, m[1].msg_len);
	SHOW(recvmmsg, s[1], m, 3, MSG_DONTWAIT, NULL);
	SHOW(recvmmsg, s[1], m, 0, MSG_DONTWAIT, NULL);
	SHOW(recvmmsg, s[1], m, 3, MSG_DONTWAIT, &bad);
	SHOW(recvmmsg, s[1], m, 3, MSG_DONTWAIT, NOWHERE);
	SHOW(recvmmsg, 99, m, 3, 0, NULL);
	SHOW(sendmmsg, s[0], m, 0, 0);
	SHOW(sendmmsg, s[0], NOWHERE, 1, 0);
	SHOW(sendmmsg, 99, m, 1, 0);
	SHOW(sendmmsg, 1, m, 1, 0);
	return 0;
}
