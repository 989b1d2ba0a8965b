/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring_register(2): empty places for files and buffers, which are filled later. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

int main(void)
{
	char *memory = anonymous(PAGE, MAP_PRIVATE);
	struct io_uring_rsrc_register room = { .nr = 4, .flags = IORING_RSRC_REGISTER_SPARSE };
	int fds[2] = { MUST(open, "file", O_RDWR | O_CREAT, 0600), -1 };
	struct iovec piece = { memory, 100 };
	struct io_uring_rsrc_update2 update = { .offset = 2, .data = (u64)fds, .nr = 2 };
	setup(&ring, 8, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, 8);
	room.resv2 = 1;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, sizeof(room));
	room.resv2 = 0;
	room.flags = 2;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, sizeof(room));
	room.flags = 1;
	room.data = 1;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, sizeof(room));
	room.data = 0;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update));
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, sizeof(room));
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES2, &room, sizeof(room));
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update));
	update.offset = 3;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update));
	update.nr = 0;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE2, &update, sizeof(update));
	entry(&ring, IORING_OP_WRITE, 2, "through two", 11, 0)->flags = IOSQE_FIXED_FILE;
	entry(&ring, IORING_OP_WRITE, 1, "through one", 11, 0)->flags = IOSQE_FIXED_FILE;
	go(&ring, 2);
	struct io_uring_sqe *sqe = entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0);
	sqe->file_index = -1;
	go(&ring, 1);
	update.offset = 1;
	update.nr = 1;
	update.data = (u64)&piece;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS2, &room, sizeof(room));
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
	entry(&ring, IORING_OP_READ_FIXED, fds[0], memory, 11, 0)->buf_index = 1;
	entry(&ring, IORING_OP_READ_FIXED, fds[0], memory, 11, 0)->buf_index = 0;
	go(&ring, 2);
	print("%s\n", memory);
	update.offset = 4;
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 0);
	return 0;
}
