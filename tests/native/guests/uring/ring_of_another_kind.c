/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: rings without an index of entries, with large entries and events, and with one submitter. */
// since: 6.18
#include "native.h"
#include "uring.h"

static void use(u32 flags)
{
	struct ring ring;
	print("flags %x\n", flags);
	setup(&ring, 4, flags);
	for (int n = 0; n < 6; n++) {
		entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
		go(&ring, 1);
	}
	long child = MUST(fork);
	if (!child) {
		entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
		print("in a child: %s\n", result_name(submit(&ring, 0)));
		leave(0);
	}
	reap(child);
	SYS(io_uring_enter, ring.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	events(&ring);
	MUST(close, ring.fd);
}

int main(void)
{
	use(0);
	use(1U << 16);
	use(IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
	use(IORING_SETUP_SINGLE_ISSUER);
	use(IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN);
	return 0;
}
