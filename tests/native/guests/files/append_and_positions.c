/* SPDX-License-Identifier: GPL-2.0-or-later */
/* O_APPEND writes at the end, wherever the position is, and moves it there. */
#include "native.h"

int main(void)
{
	char text[16] = "";
	put("file", "0123");
	int a = MUST(open, "file", O_RDWR | O_APPEND), b = MUST(open, "file", O_RDWR);
	SHOW(lseek, a, 1, SEEK_SET);
	SHOW(write, a, "45", 2);
	SHOW(lseek, a, 0, SEEK_CUR);
	SHOW(read, a, text, 1);
	SHOW(lseek, a, 2, SEEK_SET);
	SHOW(read, a, text, 2);
	print("%s\n", text);
	SHOW(fcntl, a, F_SETFL, 0);
	SHOW(write, a, "x", 1);
	SHOW(fcntl, b, F_SETFL, O_APPEND);
	SHOW(write, b, "y", 1);
	cat("file");
	return 0;
}
