/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: READ, WRITE, READV, WRITEV, FSYNC, FALLOCATE, FTRUNCATE, at a place or at the position. */
// since: 6.18
#include "native.h"
#include "uring.h"

int main(void)
{
	struct ring ring;
	char text[32] = { 0 };
	setup(&ring, 8, 0);
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	struct iovec out[2] = { { "vec", 3 }, { "tors", 4 } }, in[2] = { { text, 3 }, { text + 8, 10 } };
	entry(&ring, IORING_OP_WRITE, fd, "hello", 5, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_WRITE, fd, "position", 8, -1)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_WRITEV, fd, out, 2, 100)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0);
	go(&ring, 4);
	entry(&ring, IORING_OP_READ, fd, text, 20, 0);
	go(&ring, 1);
	print("%s\n", text);
	memset(text, 0, 32);
	entry(&ring, IORING_OP_READV, fd, in, 2, 100);
	go(&ring, 1);
	print("%s %s\n", text, text + 8);
	entry(&ring, IORING_OP_READ, fd, text, 20, 1000);
	entry(&ring, IORING_OP_FALLOCATE, fd, (void *)1000UL, 0, 500)->flags = IOSQE_IO_LINK;
	entry(&ring, OP_FTRUNCATE, fd, NULL, 0, 1200);
	go(&ring, 3);
	entry(&ring, IORING_OP_READ, fd, NOWHERE, 20, 0);
	entry(&ring, IORING_OP_READ, 99, text, 20, 0);
	entry(&ring, IORING_OP_READ, fd, text, 20, -5);
	entry(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0)->fsync_flags = IORING_FSYNC_DATASYNC;
	int only = MUST(open, "file", O_RDONLY);
	entry(&ring, IORING_OP_WRITE, only, text, 4, 0);
	entry(&ring, IORING_OP_FALLOCATE, fd, (void *)0, 0, 0);
	go(&ring, 6);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	entry(&ring, 200, fd, NULL, 0, 0);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	go(&ring, 1);
	go(&ring, 1);
	entry(&ring, IORING_OP_FSYNC, fd, NULL, 0, 0)->fsync_flags = 8;
	go(&ring, 1);
	entry(&ring, IORING_OP_READV, fd, NOWHERE, 2, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0)->flags = 0x80;
	go(&ring, 1);
	return 0;
}
