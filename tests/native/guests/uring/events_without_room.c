/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: events for which the completion queue has no room are kept. */
// since: 6.18
#include "native.h"
#include "uring.h"

int main(void)
{
	struct ring ring;
	setup(&ring, 4, 0);
	for (int n = 0; n < 3; n++) {
		for (int m = 0; m < 4; m++)
			entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
		print("submitted %ld, flags %x, lost %u\n", submit(&ring, 0), *WORD(&ring, sq_off.flags),
		      *WORD(&ring, cq_off.overflow));
	}
	struct pollfd ready = { ring.fd, POLLIN | POLLOUT, 0 };
	SHOW(poll, &ready, 1, 0);
	print("%x\n", ready.revents);
	events(&ring);
	print("flags %x\n", *WORD(&ring, sq_off.flags));
	SHOW(io_uring_enter, ring.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	print("flags %x\n", *WORD(&ring, sq_off.flags));
	events(&ring);
	SHOW(poll, &ready, 1, 0);
	print("%x\n", ready.revents);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	WORD(&ring, sq_off.array)[(*WORD(&ring, sq_off.tail) - 1) & 3] = 100;
	print("submitted %ld, dropped %u\n", submit(&ring, 0), *WORD(&ring, sq_off.dropped));
	*WORD(&ring, cq_off.head) += 1000;
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	print("submitted %ld\n", submit(&ring, 0));
	*WORD(&ring, sq_off.tail) += 1000;
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	print("submitted %d\n", SYS(io_uring_enter, ring.fd, 2, 0, 0, NULL, 0) >= 0);
	return 0;
}
