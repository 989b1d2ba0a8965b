/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chdir(2), fchdir(2), getcwd(2): a directory that is gone, a buffer that is short. */
#include "native.h"

int main(void)
{
	char text[4096];
	put("file", "x");
	MUST(mkdir, "dir", 0755);
	MUST(mkdir, "dir/in", 0755);
	SHOW(chdir, "dir");
	SHOW(chdir, "file");
	SHOW(chdir, "../file");
	SHOW(chdir, "missing");
	SHOW(chdir, "");
	SHOW(chdir, NOWHERE);
	int in = MUST(open, "in", O_RDONLY), file = MUST(open, "../file", O_RDONLY);
	SHOW(fchdir, file);
	SHOW(fchdir, 99);
	SHOW(fchdir, in);
	SHOW(getcwd, text, 1);
	SHOW(getcwd, text, 0);
	SHOW(getcwd, NULL, 0);
	SHOW(getcwd, NOWHERE, 4096);
	DO(getcwd, text, sizeof(text));
	long n = strlen(text);
	print("%s\n", text + n - 7);
	MUST(rmdir, "../in");
	SHOW(getcwd, text, sizeof(text));
	SHOW(open, "x", O_RDWR | O_CREAT, 0600);
	SHOW(open, ".", O_RDONLY);
	SHOW(chdir, "..");
	SHOW(chdir, "/");
	SHOW(getcwd, text, sizeof(text));
	SHOW(getcwd, text, 2);
	return 0;
}
