/* SPDX-License-Identifier: GPL-2.0-or-later */
/* truncate(2) and ftruncate(2): sizes, kinds of files, descriptors. */
#include "native.h"

int main(void)
{
	struct stat st;
	put("file", "0123456789");
	MUST(mkdir, "dir", 0755);
	MUST(mknod, "fifo", S_IFIFO | 0600, 0);
	int ro = MUST(open, "file", O_RDONLY), rw = MUST(open, "file", O_RDWR);
	SHOW(truncate, "file", 4);
	cat("file");
	SHOW(truncate, "file", 100);
	MUST(stat, "file", &st);
	SAY(st.st_size);
	SHOW(truncate, "file", -1);
	SHOW(truncate, "missing", -1);
	SHOW(truncate, "missing", 0);
	SHOW(truncate, "dir", 0);
	SHOW(truncate, "fifo", 0);
	SHOW(truncate, "", 0);
	SHOW(truncate, NOWHERE, 0);
	SHOW(truncate, "file/x", 0);
	SHOW(ftruncate, rw, 2);
	SHOW(ftruncate, rw, -1);
	SHOW(ftruncate, ro, 0);
	SHOW(ftruncate, ro, -1);
	SHOW(ftruncate, 99, 0);
	SHOW(ftruncate, 99, -1);
	SHOW(ftruncate, MUST(open, "dir", O_RDONLY), 0);
	SHOW(ftruncate, MUST(open, "fifo", O_RDWR), 0);
	SHOW(ftruncate, MUST(open, "file", O_PATH), 0);
	return 0;
}
