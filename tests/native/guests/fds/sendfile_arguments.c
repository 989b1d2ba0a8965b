/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendfile(2): offsets, kinds of files. */
#include "native.h"

int main(void)
{
	char text[16] = "";
	long offset = 2;
	int fds[2];
	put("from", "0123456789");
	put("to", "");
	int in = MUST(open, "from", O_RDONLY), out = MUST(open, "to", O_WRONLY), app = MUST(open, "to", O_WRONLY | O_APPEND);
	MUST(pipe2, fds, O_NONBLOCK);
	SHOW(sendfile, out, in, &offset, 3);
	SAY(offset);
	SHOW(sendfile, out, in, NULL, 4);
	SHOW(lseek, in, 0, SEEK_CUR);
	SHOW(sendfile, fds[1], in, NULL, 100);
	SHOW(sendfile, fds[1], in, NULL, 100);
	SHOW(read, fds[0], text, 16);
	SHOW(sendfile, in, in, NULL, 1);
	SHOW(sendfile, out, out, NULL, 1);
	SHOW(sendfile, 99, in, NULL, 1);
	SHOW(sendfile, out, 99, NULL, 1);
	SHOW(sendfile, out, fds[0], NULL, 1);
	SHOW(sendfile, app, in, NULL, 1);
	SHOW(sendfile, out, in, NOWHERE, 1);
	offset = -1;
	SHOW(sendfile, out, in, &offset, 1);
	offset = 0;
	SHOW(sendfile, out, fds[0], &offset, 1);
	SHOW(sendfile, out, in, &offset, 0);
	cat("to");
	return 0;
}
