/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls on descriptors, by chance: which numbers they take, what reads give. */
#define WHOLE_LINES
#include "native.h"
#include <sys/socket.h>

#define FDS 20
static long one(void)
{
	int fd = 3 + chance(FDS), other = 3 + chance(FDS), two[2];
	char text[64];

	switch (chance(16)) {
	case 0:
		return SYS(close, fd);
	case 1:
		return SYS(dup, fd);
	case 2:
		return SYS(dup2, fd, other);
	case 3:
		return SYS(dup3, fd, other, chance(2) ? O_CLOEXEC : 0);
	case 4:
		return SYS(pipe2, two, O_NONBLOCK | (chance(2) ? O_CLOEXEC : 0)) ?: two[0] * 100 + two[1];
	case 5:
		return SYS(open, "file", O_RDWR | (chance(4) ? 0 : O_APPEND));
	case 6:
		return SYS(lseek, fd, chance(50), chance(5));
	case 7:
	case 8:
		return SYS(read, fd, text, chance(30));
	case 9:
	case 10:
		return SYS(write, fd, "0123456789012345678901234567890", chance(30));
	case 11:
		return SYS(fcntl, fd, chance(2) ? F_DUPFD : F_DUPFD_CLOEXEC, other);
	case 12:
		return SYS(fcntl, fd, F_GETFD);
	case 13:
		return chance(4) ? SYS(ftruncate, fd, chance(100)) : SYS(close_range, fd, fd + chance(3), 0);
	case 14:
		return chance(2) ? SYS(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two) ?: two[0] * 100 + two[1] : SYS(splice, fd, NULL, other, NULL, chance(20), 2);
	default:
		return SYS(pread64, fd, text, chance(30), chance(60));
	}
}

int main(void)
{
	struct rlimit limit = { 3 + FDS, 3 + FDS };
	handle(SIGPIPE, SIG_IGN, 0);
	put("file", "the text of the file that is read here, by chance");
	MUST(setrlimit, RLIMIT_NOFILE, &limit);
	for (int line = 0; line < 150; line++) {
		for (int i = 0; i < 20; i++)
			print("%ld ", one());
		print("|");
		for (int fd = 3; fd < 3 + FDS; fd++) {
			struct pollfd p = { fd, POLLIN | POLLOUT, 0 };

			SYS(poll, &p, 1, 0);
			print(" %x", p.revents);
		}
		print("\n");
	}
	return 0;
}
