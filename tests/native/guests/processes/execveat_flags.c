/* SPDX-License-Identifier: GPL-2.0-or-later */
/* execveat(2): AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, descriptors. */
// needs: proc
#include "native.h"

static char *args[2] = { "x", NULL };
static int run(void)
{
	put("text", "no program\n");
	MUST(chmod, "text", 0755);
	MUST(symlink, "text", "link");
	int fd = MUST(open, "text", O_RDONLY), dir = MUST(open, ".", O_RDONLY);
	SHOW(execveat, AT_FDCWD, "text", args, NULL, 0);
	SHOW(execveat, dir, "text", args, NULL, 0);
	SHOW(execveat, dir, "missing", args, NULL, 0);
	SHOW(execveat, 99, "text", args, NULL, 0);
	SHOW(execveat, fd, "text", args, NULL, 0);
	SHOW(execveat, fd, "", args, NULL, AT_EMPTY_PATH);
	SHOW(execveat, fd, "", args, NULL, 0);
	SHOW(execveat, dir, "", args, NULL, AT_EMPTY_PATH);
	SHOW(execveat, 99, "", args, NULL, AT_EMPTY_PATH);
	SHOW(execveat, dir, "link", args, NULL, AT_SYMLINK_NOFOLLOW);
	SHOW(execveat, dir, "link", args, NULL, 1);
	SHOW(execveat, 99, NOWHERE, args, NULL, 1);
	long pid = MUST(fork);
	if (!pid) {
		char *again[2] = { "again", NULL };

		fd = MUST(open, "/proc/self/exe", O_RDONLY);
		MUST(execveat, fd, "", again, NULL, AT_EMPTY_PATH);
	}
	reap(pid);
	return 0;
}
#define main(x) main(int argc, char **argv)

int main(void)
{
	return same(argv[0], "again") ? print("again: %d\n", argc), 5 : run();
	return 0;
}
