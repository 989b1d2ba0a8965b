/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring_enter(2): a signal ends the wait, under a mask of the call's own; what was submitted counts. */
// since: 6.18
#include "native.h"
#include "uring.h"

static volatile int caught;

static void handler(int signo UNUSED)
{
	caught++;
}

static void alarm_in(long us)
{
	struct itimerval time = { { 0, 0 }, { 0, us } };
	MUST(setitimer, ITIMER_REAL, &time, NULL);
}

int main(void)
{
	struct ring ring;
	u64 mask = SIGNAL_BIT(SIGALRM), none = 0;
	setup(&ring, 8, 0);
	handle(SIGALRM, handler, SA_RESTART);
	alarm_in(10000);
	SHOW(io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8);
	SAY(caught);
	alarm_in(10000);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	SHOW(io_uring_enter, ring.fd, 1, 2, IORING_ENTER_GETEVENTS, NULL, 8);
	SAY(caught);
	MUST(rt_sigprocmask, SIG_BLOCK, &mask, NULL, 8);
	alarm_in(10000);
	SHOW(io_uring_enter, ring.fd, 0, 2, IORING_ENTER_GETEVENTS, &none, 8);
	SAY(caught);
	events(&ring);
	SHOW(io_uring_enter, ring.fd, 0, 2, IORING_ENTER_GETEVENTS, &none, 7);
	SHOW(io_uring_enter, ring.fd, 0, 2, IORING_ENTER_GETEVENTS, NOWHERE, 8);
	return 0;
}
