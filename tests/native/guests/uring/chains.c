/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: what is linked is done one after the other, and not at all behind a failure. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

/* The events in the order in which they came. */
static void in_order(void)
{
	u32 head = *WORD(&ring, cq_off.head);
	for (; head != *WORD(&ring, cq_off.tail); head++)
		print("  %lu: %s\n", (u64)event(&ring, head)->user_data, result_name(event(&ring, head)->res));
	*WORD(&ring, cq_off.head) = head;
}

static void nop(u8 flags)
{
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0)->flags = flags;
}

static void fails(u8 flags)
{
	entry(&ring, IORING_OP_READ, 99, NULL, 0, 0)->flags = flags;
}

int main(void)
{
	char text[32] = { 0 };
	setup(&ring, 16, 0);
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	entry(&ring, IORING_OP_WRITE, fd, "linked", 6, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_READ, fd, text, 6, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0);
	go(&ring, 3);
	print("%s\n", text);
	nop(IOSQE_IO_LINK);
	nop(0);
	nop(0);
	submit(&ring, 3);
	in_order();
	fails(IOSQE_IO_LINK);
	nop(IOSQE_IO_LINK);
	nop(0);
	nop(0);
	submit(&ring, 4);
	in_order();
	fails(IOSQE_IO_HARDLINK);
	nop(IOSQE_IO_HARDLINK);
	nop(0);
	go(&ring, 3);
	entry(&ring, IORING_OP_READ, fd, text, 20, 0)->flags = IOSQE_IO_LINK;
	nop(0);
	go(&ring, 2);
	nop(IOSQE_IO_LINK);
	entry(&ring, 200, 0, NULL, 0, 0)->flags = IOSQE_IO_LINK;
	nop(0);
	go(&ring, 3);
	nop(IOSQE_CQE_SKIP_SUCCESS);
	fails(IOSQE_CQE_SKIP_SUCCESS);
	nop(0);
	go(&ring, 2);
	int fds[2];
	MUST(pipe, fds);
	entry(&ring, IORING_OP_READ, fds[0], text, 5, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_WRITE, fd, text, 5, 50);
	go(&ring, 0);
	MUST(write, fds[1], "later", 5);
	SYS(io_uring_enter, ring.fd, 0, 2, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	nop(IOSQE_IO_LINK);
	go(&ring, 1);
	nop(IOSQE_IO_DRAIN);
	go(&ring, 1);
	setup(&ring, 16, 0);
	entry(&ring, IORING_OP_READ, fds[0], text, 5, 0);
	nop(IOSQE_IO_DRAIN);
	nop(0);
	go(&ring, 0);
	MUST(write, fds[1], "drain", 5);
	SYS(io_uring_enter, ring.fd, 0, 3, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	return 0;
}
