/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: WAITID for a child that ends, now or later. */
// since: 6.18
#include "native.h"
#include "uring.h"

static struct ring ring;

static void wait_for(u32 which, int number, siginfo_t *info, u32 options, u32 events_wanted)
{
	struct io_uring_sqe *sqe = entry(&ring, 50 /* IORING_OP_WAITID */, number, NULL, which, (u64)info);
	sqe->file_index = options;
	go(&ring, events_wanted);
}

static long ends(int status, long ms)
{
	long child = MUST(fork);
	if (!child) {
		sleep_ms(ms);
		leave(status);
	}
	return child;
}

int main(void)
{
	siginfo_t info;
	setup(&ring, 8, 0);
	memset(&info, 0, sizeof(info));
	wait_for(P_ALL, 0, &info, WEXITED, 1);
	long child = ends(3, 20);
	wait_for(P_PID, child, &info, WEXITED, 1);
	print("%d %d %d\n", info.si_pid == child, info.si_code, info.si_status);
	child = ends(4, 20);
	wait_for(P_PID, child, &info, WEXITED, 0);
	SYS(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	events(&ring);
	print("%d %d %d\n", info.si_pid == child, info.si_code, info.si_status);
	child = ends(5, 0);
	sleep_ms(20);
	wait_for(P_ALL, 0, NULL, WEXITED | WNOHANG, 1);
	wait_for(P_PID, child, NULL, WEXITED, 1);
	wait_for(P_PID, 0, &info, WEXITED, 1);
	wait_for(P_ALL, 0, &info, 0, 1);
	wait_for(9, 0, &info, WEXITED, 1);
	return 0;
}
