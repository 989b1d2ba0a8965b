/* SPDX-License-Identifier: GPL-2.0-or-later */
/* readv(2) and writev(2): counts, lengths, addresses in the middle. */
#include "native.h"

int main(void)
{
	char a[4] = "", b[4] = "";
	struct iovec v[2] = { { a, 3 }, { b, 3 } };
	put("file", "012345");
	int fd = MUST(open, "file", O_RDWR);
	SHOW(readv, fd, v, 2);
	print("%s %s\n", a, b);
	SHOW(writev, fd, v, 2);
	SHOW(readv, fd, v, 0);
	SHOW(readv, fd, v, 1025);
	SHOW(readv, fd, v, -1);
	SHOW(readv, fd, NOWHERE, 1);
	SHOW(readv, fd, NOWHERE, 0);
	SHOW(readv, 99, NOWHERE, 1025);
	SHOW(writev, 99, v, 2);
	v[1].iov_len = -1;
	SHOW(readv, fd, v, 2);
	SHOW(writev, fd, v, 2);
	v[1] = (struct iovec){ NOWHERE, 3 };
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(readv, fd, v, 2);
	SHOW(writev, fd, v, 2);
	v[0] = (struct iovec){ NOWHERE, 0 };
	SHOW(writev, fd, v, 2);
	int ro = MUST(open, "file", O_RDONLY), wo = MUST(open, "file", O_WRONLY);
	SHOW(writev, ro, v, 2);
	SHOW(readv, wo, v, 2);
	cat("file");
	return 0;
}
