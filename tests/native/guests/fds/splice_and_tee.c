/* SPDX-License-Identifier: GPL-2.0-or-later */
/* splice(2) and tee(2): one side must be a pipe. */
#include "native.h"

#define NONBLOCK 2

int main(void)
{
	long offset = 3;
	int a[2], b[2];
	char text[16] = "";
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR);
	MUST(pipe2, a, 0);
	MUST(pipe2, b, 0);
	SHOW(splice, fd, &offset, a[1], NULL, 4, 0);
	SAY(offset);
	SHOW(tee, a[0], b[1], 3, 0);
	SHOW(tee, a[0], b[1], 0, 0);
	SHOW(read, b[0], text, 16);
	print("%s\n", text);
	SHOW(splice, a[0], NULL, b[1], NULL, 2, 0);
	SHOW(splice, a[0], NULL, fd, NULL, 16, 0);
	SHOW(splice, a[0], NULL, b[1], NULL, 16, NONBLOCK);
	SHOW(tee, a[0], b[1], 16, NONBLOCK);
	SHOW(splice, a[0], NULL, a[1], NULL, 1, 0);
	SHOW(tee, a[0], a[1], 1, 0);
	SHOW(tee, fd, a[1], 1, 0);
	SHOW(tee, a[0], fd, 1, 0);
	SHOW(tee, 99, a[1], 1, 0);
	SHOW(tee, a[1], b[1], 1, 0);
	SHOW(tee, a[0], b[1], 1, 16);
	SHOW(splice, fd, NULL, fd, NULL, 1, 0);
	SHOW(splice, a[0], &offset, fd, NULL, 1, 0);
	SHOW(splice, fd, NULL, a[1], &offset, 1, 0);
	SHOW(splice, 99, NULL, a[1], NULL, 1, 0);
	SHOW(splice, 99, NULL, 99, NULL, 0, 0);
	SHOW(splice, fd, NULL, a[0], NULL, 1, 0);
	SHOW(splice, fd, NOWHERE, a[1], NULL, 1, 0);
	SHOW(splice, fd, NULL, a[1], NULL, 1, 16);
	cat("file");
	return 0;
}
