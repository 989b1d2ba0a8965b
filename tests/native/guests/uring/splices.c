/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: SPLICE and TEE. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

static void move(u8 opcode, int in, u64 in_off, int out, u64 out_off, u32 length)
{
	struct io_uring_sqe *sqe = entry(&ring, opcode, out, (void *)in_off, length, out_off);
	sqe->splice_fd_in = in;
}

int main(void)
{
	char text[32] = { 0 };
	int fds[2], others[2];
	setup(&ring, 8, 0);
	put("file", "0123456789");
	MUST(pipe, fds);
	MUST(pipe, others);
	int fd = MUST(open, "file", O_RDWR);
	move(IORING_OP_SPLICE, fd, 2, fds[1], -1, 5);
	move(IORING_OP_TEE, fds[0], 0, others[1], 0, 3);
	go(&ring, 2);
	print("%ld %ld\n", MUST(read, others[0], text, 32), MUST(lseek, fd, 0, SEEK_CUR));
	move(IORING_OP_SPLICE, fds[0], -1, fd, 20, 5);
	go(&ring, 1);
	move(IORING_OP_SPLICE, fd, -1, fds[1], -1, 4);
	go(&ring, 1);
	print("%ld\n", MUST(lseek, fd, 0, SEEK_CUR));
	MUST(read, fds[0], text, 32);
	move(IORING_OP_SPLICE, fds[0], -1, others[1], -1, 4);
	go(&ring, 0);
	MUST(write, fds[1], "waited", 6);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	move(IORING_OP_SPLICE, fds[0], 5, others[1], -1, 4);
	move(IORING_OP_SPLICE, fd, 0, fd, 0, 4);
	move(IORING_OP_SPLICE, 99, -1, fds[1], -1, 4);
	move(IORING_OP_SPLICE, fd, 0, 99, -1, 4);
	go(&ring, 4);
	return 0;
}
