/* SPDX-License-Identifier: GPL-2.0-or-later */
/* read(2) and write(2): descriptors, rights, addresses, counts. */
#include "native.h"

int main(void)
{
	char text[8] = "";
	put("file", "hello");
	int r = MUST(open, "file", O_RDONLY), w = MUST(open, "file", O_WRONLY), p = MUST(open, "file", O_PATH);
	int dir = MUST(open, ".", O_RDONLY);
	SHOW(read, r, text, 8);
	SHOW(read, r, text, 8);
	SHOW(read, r, NOWHERE, 8);
	SHOW(lseek, r, 0, SEEK_SET);
	SHOW(read, r, NOWHERE, 8);
	SHOW(read, r, NOWHERE, 0);
	SHOW(read, r, (void *)-8L, 8);
	SHOW(read, r, text, -1L);
	SHOW(read, w, text, 8);
	SHOW(read, w, NOWHERE, 8);
	SHOW(read, p, text, 8);
	SHOW(read, 99, text, 8);
	SHOW(read, -1, text, 0);
	SHOW(read, dir, text, 8);
	SHOW(read, dir, NOWHERE, 0);
	SHOW(write, w, "HE", 2);
	SHOW(write, w, NOWHERE, 2);
	SHOW(write, w, NOWHERE, 0);
	SHOW(write, w, (void *)-8L, 2);
	SHOW(write, r, "x", 1);
	SHOW(write, p, "x", 1);
	SHOW(write, 99, "x", 1);
	SHOW(write, dir, "x", 1);
	return 0;
}
