/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: a read of an empty pipe is done when somebody writes, in whatever call or process that is. */
// since: 6.18
#include "native.h"
#include "uring.h"

int main(void)
{
	struct ring ring;
	char text[32] = { 0 }, more[32] = { 0 };
	int fds[2];
	setup(&ring, 8, 0);
	MUST(pipe, fds);
	entry(&ring, IORING_OP_READ, fds[0], text, 20, 0);
	go(&ring, 0);
	MUST(write, fds[1], "abc", 3);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	print("%s\n", text);
	entry(&ring, IORING_OP_READ, fds[0], text, 20, -1);
	go(&ring, 0);
	long child = MUST(fork);
	if (!child) {
		sleep_ms(20);
		MUST(write, fds[1], "from the child", 14);
		leave(0);
	}
	go(&ring, 1);
	print("%s\n", text);
	reap(child);
	entry(&ring, IORING_OP_READ, fds[0], more, 20, 0);
	go(&ring, 0);
	entry(&ring, IORING_OP_WRITE, fds[1], "one ring", 8, 0);
	go(&ring, 2);
	print("%s\n", more);
	entry(&ring, IORING_OP_READ, fds[0], more, 20, 0);
	go(&ring, 0);
	SHOW(close, fds[0]);
	MUST(write, fds[1], "still open", 10);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	print("%s\n", more);
	MUST(pipe2, fds, O_NONBLOCK);
	memset(more, 0, 32);
	entry(&ring, IORING_OP_READ, fds[0], more, 20, 0);
	go(&ring, 0);
	MUST(write, fds[1], "waits nevertheless", 18);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	print("%s\n", more);
	MUST(pipe, fds);
	entry(&ring, IORING_OP_READ, fds[0], more, 20, 0);
	go(&ring, 0);
	SHOW(close, fds[1]);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	return 0;
}
