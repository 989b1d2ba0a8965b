/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same calls with descriptors; an empty name reads the link that O_PATH opened. */
#include "native.h"

int main(void)
{
	char text[16] = "";
	MUST(mkdir, "dir", 0755);
	int dir = MUST(open, "dir", O_RDONLY);
	SHOW(symlinkat, "target", dir, "s");
	SHOW(symlinkat, "target", dir, "s");
	SHOW(symlinkat, "target", 99, "s");
	SHOW(symlinkat, "target", 1, "s");
	SHOW(symlinkat, "", 99, "s");
	SHOW(readlinkat, dir, "s", text, 16);
	print("%s\n", text);
	SHOW(readlinkat, 99, "s", text, 16);
	SHOW(readlinkat, 99, "s", text, 0);
	SHOW(readlinkat, dir, "", text, 16);
	int link = SHOW(openat, dir, "s", O_PATH | O_NOFOLLOW);
	SHOW(readlinkat, link, "", text, 16);
	SHOW(readlinkat, AT_FDCWD, "dir/s", text, 2);
	return 0;
}
