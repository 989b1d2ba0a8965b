/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: a LINK_TIMEOUT that comes first ends the request before it. */
// since: 6.18
#include "native.h"
#include "uring.h"

int main(void)
{
	struct ring ring;
	struct __kernel_timespec soon = { 0, 20000000 };
	int fds[2];
	char text[8];
	setup(&ring, 8, 0);
	MUST(pipe, fds);
	entry(&ring, IORING_OP_READ, fds[0], text, 8, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_LINK_TIMEOUT, -1, &soon, 1, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	go(&ring, 3);
	return 0;
}
