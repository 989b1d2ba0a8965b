/* SPDX-License-Identifier: GPL-2.0-or-later */
/* splice(2) and tee(2) between each two kinds of descriptors. */
#include "native.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

static const char *const names[] = { "pipe", "pipe's writing end", "full pipe", "file", "read-only", "write-only", "append", "directory", "socket", "eventfd", "null", "path", "none" };

int main(void)
{
	int a[2], b[2], s[2];
	char text[8];
	put("file", "0123456789");
	MUST(pipe2, a, O_NONBLOCK);
	MUST(pipe2, b, O_NONBLOCK);
	MUST(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
	int fds[] = { a[0], a[1], b[0], MUST(open, "file", O_RDWR), MUST(open, "file", O_RDONLY), MUST(open, "file", O_WRONLY), MUST(open, "file", O_WRONLY | O_APPEND), MUST(open, ".", O_RDONLY), s[0], MUST(eventfd2, 0, 04000), MUST(open, "/dev/null", O_RDWR), MUST(open, "file", O_PATH), 99 };
	for (u32 i = 0; i < COUNT(fds); i++)
		for (u32 o = 0; o < COUNT(fds); o++) {
			long zero = 0;

	#define CLEAR() (SYS(read, a[0], text, 8), SYS(read, b[0], text, 8), MUST(write, b[1], "x", 1), SYS(read, s[1], text, 8))
			CLEAR();
			print("%s to %s: %s", names[i], names[o], result_name(SYS(splice, fds[i], NULL, fds[o], NULL, 1, 2)));
			CLEAR();
			print(" %s", result_name(SYS(splice, fds[i], &zero, fds[o], NULL, 1, 2)));
			zero = 0;
			CLEAR();
			print(" %s", result_name(SYS(splice, fds[i], NULL, fds[o], &zero, 1, 2)));
			CLEAR();
			print(" %s", result_name(SYS(tee, fds[i], fds[o], 1, 2)));
			zero = 0;
			CLEAR();
			print(" %s", result_name(SYS(sendfile, fds[o], fds[i], &zero, 1)));
			print(" %s\n", result_name(SYS(copy_file_range, fds[i], NULL, fds[o], NULL, 0, 0)));
		}
	return 0;
}
