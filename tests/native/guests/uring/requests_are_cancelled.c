/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: ASYNC_CANCEL by what a request says, by its file, and all. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;
static int fds[2], others[2];
static char text[8];

static u64 waits(int fd)
{
	entry(&ring, IORING_OP_READ, fd, text, 8, 0);
	MUST(io_uring_enter, ring.fd, 1, 0, 0, NULL, 0);
	return ring.queued;
}

static void cancel(u64 which, int fd, u32 flags, u32 wait)
{
	struct io_uring_sqe *sqe = entry(&ring, IORING_OP_ASYNC_CANCEL, fd, (void *)which, 0, 0);
	sqe->cancel_flags = flags;
	go(&ring, wait);
}

int main(void)
{
	setup(&ring, 8, 0);
	MUST(pipe, fds);
	MUST(pipe, others);
	cancel(waits(fds[0]), -1, 0, 2);
	cancel(1000, -1, 0, 1);
	waits(fds[0]);
	waits(others[0]);
	cancel(0, others[0], IORING_ASYNC_CANCEL_FD, 2);
	waits(others[0]);
	cancel(0, others[0], IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, 2);
	waits(others[0]);
	cancel(0, -1, IORING_ASYNC_CANCEL_ANY, 3);
	cancel(0, -1, IORING_ASYNC_CANCEL_ANY, 1);
	cancel(0, 99, IORING_ASYNC_CANCEL_FD, 1);
	cancel(0, -1, 1 << 10, 1);
	waits(fds[0]);
	SHOW(close, ring.fd);
	return 0;
}
