/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setns(2): what is no namespace. */
#include "native.h"

int main(void)
{
	put("file", "x");
	int fd = MUST(open, "file", O_RDONLY);
	SHOW(setns, fd, 0);
	SHOW(setns, 99, 0);
	SHOW(setns, fd, 1);
	return 0;
}
