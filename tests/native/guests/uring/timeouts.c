/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: TIMEOUT by time and by events, TIMEOUT_REMOVE, LINK_TIMEOUT, and timeouts of io_uring_enter(2). */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;
static struct __kernel_timespec soon = { 0, 20000000 }, late = { 100, 0 }, wrong = { -1, 0 };

static struct io_uring_sqe *timeout(struct __kernel_timespec *time, u64 number, u32 flags)
{
	struct io_uring_sqe *sqe = entry(&ring, IORING_OP_TIMEOUT, -1, time, 1, number);
	sqe->timeout_flags = flags;
	return sqe;
}

static void wait_for(u32 number)
{
	SYS(io_uring_enter, ring.fd, 0, number, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
}

int main(void)
{
	int fds[2];
	char text[8];
	setup(&ring, 16, 0);
	MUST(pipe, fds);
	timeout(&soon, 0, 0);
	go(&ring, 1);
	timeout(&late, 1, 0);
	go(&ring, 0);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	go(&ring, 2);
	timeout(&late, 0, 0);
	go(&ring, 0);
	entry(&ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)(u64)ring.queued, 0, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)1000UL, 0, 0);
	go(&ring, 1);
	timeout(&late, 0, 0);
	go(&ring, 0);
	entry(&ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)(u64)ring.queued, 0, (u64)&soon)->timeout_flags =
		IORING_TIMEOUT_UPDATE;
	go(&ring, 2);
	timeout(&wrong, 0, 0);
	go(&ring, 1);
	timeout(&soon, 0, 0)->len = 2;
	go(&ring, 1);
	timeout((void *)NOWHERE, 0, 0);
	go(&ring, 1);
	struct timespec now;
	MUST(clock_gettime, CLOCK_MONOTONIC, &now);
	struct __kernel_timespec then = { now.tv_sec, now.tv_nsec };
	timeout(&then, 0, IORING_TIMEOUT_ABS);
	go(&ring, 1);
	MUST(clock_gettime, CLOCK_REALTIME, &now);
	then.tv_sec = now.tv_sec;
	then.tv_nsec = now.tv_nsec;
	timeout(&then, 0, IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME);
	go(&ring, 1);
	timeout(&soon, 0, IORING_TIMEOUT_ETIME_SUCCESS)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	go(&ring, 2);
	timeout(&soon, 0, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_READ, fds[0], text, 8, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_LINK_TIMEOUT, -1, &late, 1, 0);
	go(&ring, 0);
	MUST(write, fds[1], "x", 1);
	wait_for(2);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_LINK_TIMEOUT, -1, &late, 1, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_LINK_TIMEOUT, -1, &soon, 1, 0);
	go(&ring, 1);
	struct io_uring_getevents_arg arg = { 0, 0, 0, (u64)&soon };
	SHOW(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	SHOW(io_uring_enter, ring.fd, 1, 2, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	SHOW(io_uring_enter, ring.fd, 0, 2, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	events(&ring);
	arg.ts = (u64)NOWHERE;
	SHOW(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	SHOW(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, 8);
	return 0;
}
