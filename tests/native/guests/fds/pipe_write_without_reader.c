/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A write to a pipe that nobody reads is EPIPE and SIGPIPE; what was checked before that. */
#include "native.h"

static void on_pipe(int signo)
{
	print("%s\n", signal_name(signo));
}

int main(void)
{
	int fds[2];

	SHOW(pipe2, NULL, 0);
	SHOW(pipe2, NULL, 1);
	SHOW(pipe2, fds, 0);
	handle(SIGPIPE, on_pipe, 0);
	SHOW(close, fds[0]);
	SHOW(write, fds[1], "a", 1);
	SHOW(write, fds[1], "a", 0);
	SHOW(write, fds[1], NOWHERE, 1);
	SHOW(read, fds[1], NOWHERE, 1);
	handle(SIGPIPE, SIG_DFL, 0);
	long pid = MUST(fork);
	if (!pid) {
		SYS(write, fds[1], "a", 1);
		leave(1);
	}
	reap(pid);
	return 0;
}
