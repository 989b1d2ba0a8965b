/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The set-user-ID and set-group-ID bits go when another than root writes or changes a file. */
// needs: root
#include "native.h"

static void make(const char *path)
{
	put(path, "x");
	MUST(chown, path, 1000, 1000);
	MUST(chmod, path, 06777);
}

int main(void)
{
	make("root-writes");
	make("written");
	make("empty");
	make("truncated");
	make("opened");
	int fd = MUST(open, "root-writes", O_WRONLY);
	SHOW(write, fd, "y", 1);
	become(1000);
	fd = MUST(open, "written", O_WRONLY);
	SHOW(write, fd, "y", 1);
	fd = MUST(open, "empty", O_WRONLY);
	SHOW(write, fd, "y", 0);
	SHOW(truncate, "truncated", 0);
	SHOW(open, "opened", O_WRONLY | O_TRUNC);
	return 0;
}
