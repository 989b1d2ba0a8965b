/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring_register(2): files, updates of them, requests on them, and new files among them. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

static void on(u8 opcode, int index, void *at, u32 length, u64 off)
{
	entry(&ring, opcode, index, at, length, off)->flags = IOSQE_FIXED_FILE;
}

int main(void)
{
	char text[16] = { 0 };
	setup(&ring, 8, 0);
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0600), fds[4] = { fd, -1, -1, fd };
	on(IORING_OP_WRITE, 0, "none", 4, 0);
	go(&ring, 1);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, NOWHERE, 4);
	fds[1] = 99;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 4);
	fds[1] = ring.fd;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 4);
	fds[1] = -1;
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 4);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 4);
	SHOW(close, fd);
	on(IORING_OP_WRITE, 0, "fixed", 5, 0);
	go(&ring, 1);
	on(IORING_OP_READ, 3, text, 5, 0);
	on(IORING_OP_READ, 1, text, 5, 0);
	on(IORING_OP_READ, 4, text, 5, 0);
	on(IORING_OP_FSYNC, 0, NULL, 0, 0);
	on(IORING_OP_FALLOCATE, 0, (void *)100UL, 0, 0);
	go(&ring, 5);
	print("%s\n", text);
	struct io_uring_files_update update = { 1, 0, (u64)fds };
	fds[0] = 1;
	fds[1] = -2;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, &update, 2);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, &update, 4);
	on(IORING_OP_WRITE, 1, "on standard output\n", 19, 0);
	go(&ring, 1);
	struct io_uring_sqe *sqe = entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0);
	sqe->file_index = 3;
	go(&ring, 1);
	memset(text, 0, 16);
	on(IORING_OP_READ, 2, text, 5, 0);
	go(&ring, 1);
	print("%s\n", text);
	sqe = entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0);
	sqe->file_index = 9;
	go(&ring, 1);
	entry(&ring, IORING_OP_CLOSE, 0, NULL, 0, 0)->file_index = 3;
	entry(&ring, IORING_OP_CLOSE, 0, NULL, 0, 0)->file_index = 3;
	go(&ring, 2);
	sqe = entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0);
	sqe->file_index = -1;
	go(&ring, 1);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 1);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 0);
	SHOW(open, "file", O_RDONLY);
	return 0;
}
