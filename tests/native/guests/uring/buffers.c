/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: buffers that are registered, and buffers that are chosen from a group. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

static void fixed(u8 opcode, int fd, void *at, u32 length, int index)
{
	entry(&ring, opcode, fd, at, length, 0)->buf_index = index;
}

int main(void)
{
	char *memory = anonymous(2 * PAGE, MAP_PRIVATE);
	struct iovec pieces[2] = { { memory, 100 }, { memory + PAGE, 100 } };
	int fds[2];
	setup(&ring, 8, 0);
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	fixed(IORING_OP_WRITE_FIXED, fd, memory, 10, 0);
	go(&ring, 1);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, pieces, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, NOWHERE, 2);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, pieces, 2);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, pieces, 2);
	memcpy(memory, "registered", 10);
	fixed(IORING_OP_WRITE_FIXED, fd, memory, 10, 0);
	go(&ring, 1);
	fixed(IORING_OP_READ_FIXED, fd, memory + PAGE + 50, 10, 1);
	fixed(IORING_OP_READ_FIXED, fd, memory + PAGE + 95, 10, 1);
	fixed(IORING_OP_READ_FIXED, fd, memory + PAGE, 10, 0);
	fixed(IORING_OP_READ_FIXED, fd, memory, 10, 2);
	go(&ring, 4);
	print("%s\n", memory + PAGE + 50);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	MUST(pipe, fds);
	entry(&ring, IORING_OP_PROVIDE_BUFFERS, 2, memory, 64, 10)->buf_group = 7;
	go(&ring, 1);
	for (int n = 0; n < 3; n++) {
		struct io_uring_sqe *sqe = entry(&ring, IORING_OP_READ, fds[0], NULL, 64, 0);
		sqe->flags = IOSQE_BUFFER_SELECT;
		sqe->buf_group = 7;
		MUST(write, fds[1], "0123456789" + n, 5);
		go(&ring, 1);
	}
	print("%s %s\n", memory, memory + 64);
	entry(&ring, IORING_OP_PROVIDE_BUFFERS, 3, memory, 64, 0)->buf_group = 7;
	entry(&ring, IORING_OP_REMOVE_BUFFERS, 5, NULL, 0, 0)->buf_group = 7;
	entry(&ring, IORING_OP_REMOVE_BUFFERS, 5, NULL, 0, 0)->buf_group = 8;
	go(&ring, 3);
	return 0;
}
