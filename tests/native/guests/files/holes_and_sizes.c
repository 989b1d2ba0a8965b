/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing beyond the end leaves zeros; blocks are only what was written. */
#include "native.h"

struct stat st;
static char text[8192];

int main(void)
{
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0644);
	SHOW(pwrite64, fd, "end", 3, 100000);
	MUST(fstat, fd, &st);
	print("%ld %ld\n", (long)st.st_size, (long)st.st_blocks);
	SHOW(pread64, fd, text, sizeof(text), 96000);
	print("%d %d %s\n", text[0], text[3999], text + 4000);
	MUST(ftruncate, fd, 100001);
	MUST(ftruncate, fd, 100003);
	SHOW(pread64, fd, text, 8, 100000);
	print("%d %d %d\n", text[0], text[1], text[2]);
	MUST(ftruncate, fd, 0);
	MUST(fstat, fd, &st);
	print("%ld %ld\n", (long)st.st_size, (long)st.st_blocks);
	return 0;
}
