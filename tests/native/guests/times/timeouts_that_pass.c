/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timeouts of select, pselect6, ppoll and poll: what is stored over them, and which are refused. */
#include "native.h"

int main(void)
{
	u64 ready = 1;
	int fds[2];
	struct timeval tv = { 0, 20000 };
	struct timespec ts = { 0, 20000000 };
	struct pollfd poll_fd;

	MUST(pipe2, fds, 0);
	MUST(write, fds[1], "x", 1);
	ready <<= fds[0];
	SHOW(select, 0, NULL, NULL, NULL, &tv);
	SAY(tv.tv_sec * 1000000 + tv.tv_usec);
	tv = (struct timeval){ 2, 1500000 }; /* the fraction carries */
	SHOW(select, 10, &ready, NULL, NULL, &tv);
	SAY(tv.tv_sec);
	tv = (struct timeval){ 0, -1 };
	SHOW(select, 10, &ready, NULL, NULL, &tv);
	SHOW(select, 10, &ready, NULL, NULL, NOWHERE);
	SHOW(pselect6, 0, NULL, NULL, NULL, &ts, NULL);
	SAY(ts.tv_nsec);
	ts = (struct timespec){ 3, 0 };
	SHOW(pselect6, 10, &ready, NULL, NULL, &ts, NULL);
	SAY(ts.tv_sec);
	poll_fd = (struct pollfd){ fds[0], POLLIN, 0 };
	ts = (struct timespec){ 3, 0 };
	SHOW(ppoll, &poll_fd, 1, &ts, NULL, 0);
	SAY(ts.tv_sec);
	poll_fd.fd = fds[1];
	ts = (struct timespec){ 0, 20000000 };
	SHOW(ppoll, &poll_fd, 1, &ts, NULL, 0);
	SAY(ts.tv_nsec);
	ts = (struct timespec){ 0, 1000000000 };
	SHOW(ppoll, &poll_fd, 1, &ts, NULL, 0);
	SHOW(poll, &poll_fd, 1, 20);
	SHOW(poll, &poll_fd, 1, 0);
	return 0;
}
