/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmsplice(2): memory into a pipe, and out of one. */
#include "native.h"

int main(void)
{
	char text[8] = "";
	struct iovec in = { "abc", 3 }, out = { text, 8 }, bad = { NOWHERE, 3 };
	int fds[2];
	put("file", "x");
	MUST(pipe2, fds, O_NONBLOCK);
	SHOW(vmsplice, fds[1], &in, 1, 0);
	SHOW(vmsplice, fds[0], &out, 1, 0);
	print("%s\n", text);
	SHOW(vmsplice, fds[0], &out, 1, 2);
	SHOW(vmsplice, fds[1], &in, 0, 0);
	SHOW(vmsplice, fds[1], &in, 1025, 0);
	SHOW(vmsplice, fds[1], NOWHERE, 1, 0);
	SHOW(vmsplice, fds[1], &bad, 1, 0);
	SHOW(vmsplice, fds[1], &in, 1, 16);
	SHOW(vmsplice, 99, &in, 1, 0);
	SHOW(vmsplice, MUST(open, "file", O_RDWR), &in, 1, 0);
	return 0;
}
