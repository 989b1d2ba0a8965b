/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEEK_DATA and SEEK_HOLE over every pattern of four pages. */
#include "native.h"

static char page[PAGE];

int main(void)
{
	memset(page, 'x', PAGE);
	for (int pattern = 0; pattern < 16; pattern++) {
		int fd = MUST(open, "file", O_RDWR | O_CREAT | O_TRUNC, 0644);

		MUST(ftruncate, fd, 4 * PAGE + 100);
		for (int i = 0; i < 4; i++)
			if (pattern >> i & 1)
				MUST(pwrite64, fd, page, PAGE, i * PAGE);
		print("%d:", pattern);
		for (int at = 0; at < 5; at++)
			for (int whence = SEEK_DATA; whence <= SEEK_HOLE; whence++) {
				long result = SYS(lseek, fd, at * PAGE + 7, whence);

				print(" %s", result < 0 ? errno_name(-result) : "");
				if (result >= 0)
					print("%ld", result);
			}
		print("\n");
		MUST(close, fd);
	}
	return 0;
}
