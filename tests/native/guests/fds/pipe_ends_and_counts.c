/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pipe: end of file, what fits, O_NONBLOCK, reading and writing the wrong end. */
#include "native.h"

static char text[70000];

int main(void)
{
	int fds[2];
	SHOW(pipe, NOWHERE);
	SHOW(pipe, fds);
	SHOW(pipe2, fds, O_NONBLOCK | O_CLOEXEC);
	SHOW(pipe2, NOWHERE, O_NONBLOCK);
	SHOW(pipe2, NOWHERE, O_APPEND);
	SHOW(read, fds[0], text, 1);
	SHOW(write, fds[1], text, sizeof(text));
	SHOW(write, fds[1], text, 1);
	SHOW(read, fds[0], text, 4095);
	SHOW(write, fds[1], text, 1);
	SHOW(read, fds[0], text, 1);
	SHOW(write, fds[1], text, 4097);
	SHOW(write, fds[1], text, 4096);
	SHOW(read, fds[0], text, sizeof(text));
	SHOW(read, fds[0], NOWHERE, 1);
	SHOW(write, fds[0], text, 1);
	SHOW(read, fds[1], text, 1);
	SHOW(close, fds[1]);
	SHOW(read, fds[0], text, 1);
	return 0;
}
