/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy_file_range(2): positions, kinds of files, overlapping ranges. */
#include "native.h"

int main(void)
{
	long from = 2, to = 0;
	int fds[2];
	put("a", "0123456789");
	put("b", "");
	int a = MUST(open, "a", O_RDWR), b = MUST(open, "b", O_RDWR), app = MUST(open, "b", O_RDWR | O_APPEND);
	int ro = MUST(open, "b", O_RDONLY), wo = MUST(open, "a", O_WRONLY), dir = MUST(open, ".", O_RDONLY);
	MUST(pipe2, fds, 0);
	SHOW(copy_file_range, a, &from, b, NULL, 4, 0);
	SAY(from);
	SHOW(copy_file_range, a, NULL, b, &to, 2, 0);
	SAY(to);
	cat("b");
	SHOW(copy_file_range, a, NULL, b, NULL, 100, 1);
	SHOW(copy_file_range, 99, NULL, b, NULL, 1, 1);
	SHOW(copy_file_range, a, NULL, 99, NULL, 1, 0);
	SHOW(copy_file_range, a, NULL, ro, NULL, 1, 0);
	SHOW(copy_file_range, wo, NULL, b, NULL, 1, 0);
	SHOW(copy_file_range, a, NULL, app, NULL, 1, 0);
	SHOW(copy_file_range, a, NULL, dir, NULL, 1, 0);
	SHOW(copy_file_range, dir, NULL, b, NULL, 1, 0);
	SHOW(copy_file_range, fds[0], NULL, b, NULL, 1, 0);
	SHOW(copy_file_range, a, NULL, fds[1], NULL, 1, 0);
	SHOW(copy_file_range, a, NOWHERE, b, NULL, 1, 0);
	SHOW(copy_file_range, a, NULL, b, NULL, 0, 0);
	from = 0, to = 1;
	SHOW(copy_file_range, a, &from, a, &to, 4, 0);
	from = 0, to = 5;
	SHOW(copy_file_range, a, &from, a, &to, 4, 0);
	cat("a");
	from = 100;
	SHOW(copy_file_range, a, &from, b, NULL, 4, 0);
	return 0;
}
