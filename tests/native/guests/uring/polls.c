/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: POLL_ADD once and again and again, POLL_REMOVE, and changes of a poll. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

static void wait_for(u32 number)
{
	SYS(io_uring_enter, ring.fd, 0, number, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
}

int main(void)
{
	char text[32];
	int fds[2];
	setup(&ring, 8, 0);
	MUST(pipe, fds);
	entry(&ring, IORING_OP_POLL_ADD, fds[1], NULL, 0, 0)->poll32_events = POLLOUT;
	go(&ring, 1);
	entry(&ring, IORING_OP_POLL_ADD, fds[0], NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 0);
	MUST(write, fds[1], "x", 1);
	wait_for(1);
	MUST(read, fds[0], text, 1);
	entry(&ring, IORING_OP_POLL_ADD, fds[0], NULL, IORING_POLL_ADD_MULTI, 0)->poll32_events = POLLIN;
	go(&ring, 0);
	MUST(write, fds[1], "x", 1);
	wait_for(1);
	MUST(read, fds[0], text, 1);
	MUST(write, fds[1], "x", 1);
	wait_for(1);
	entry(&ring, IORING_OP_POLL_REMOVE, -1, (void *)3UL, 0, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_POLL_REMOVE, -1, (void *)3UL, 0, 0);
	go(&ring, 1);
	MUST(read, fds[0], text, 1);
	entry(&ring, IORING_OP_POLL_ADD, fds[0], NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 0);
	entry(&ring, IORING_OP_POLL_REMOVE, -1, (void *)(u64)ring.queued, IORING_POLL_UPDATE_USER_DATA, 1000);
	go(&ring, 1);
	MUST(write, fds[1], "x", 1);
	wait_for(1);
	MUST(read, fds[0], text, 1);
	entry(&ring, IORING_OP_POLL_ADD, fds[0], NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 0);
	MUST(close, fds[1]);
	wait_for(1);
	entry(&ring, IORING_OP_POLL_ADD, 99, NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 1);
	entry(&ring, IORING_OP_POLL_ADD, fds[0], text, 0, 0)->poll32_events = POLLIN;
	go(&ring, 1);
	int regular = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	entry(&ring, IORING_OP_POLL_ADD, regular, NULL, 0, 0)->poll32_events = POLLIN;
	go(&ring, 1);
	return 0;
}
