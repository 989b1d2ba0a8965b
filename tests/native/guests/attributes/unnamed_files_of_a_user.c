/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files without a name belong to whoever made them, who may change their modes; event files belong to nobody. */
// since: 6.16
// needs: root
#include "native.h"
#include <sys/socket.h>
#include <sys/stat.h>

static void look(const char *what, int fd)
{
	struct stat found;
	struct timespec times[2] = {{5, 0}, {6, 0}};

	MUST(fstat, fd, &found);
	print("%s: %d:%d %o\n", what, (int)found.st_uid, (int)found.st_gid, found.st_mode);
	SHOW(fchmod, fd, 0640);
	SHOW(fchown, fd, -1, 1000);
	SHOW(fchown, fd, 1001, -1);
	SHOW(utimensat, fd, NULL, times, 0);
	SHOW(utimensat, fd, NULL, NULL, 0);
	MUST(fstat, fd, &found);
	print("%s: %d:%d %o\n", what, (int)found.st_uid, (int)found.st_gid, found.st_mode);
}

int main(void)
{
	int fds[2], pair[2];

	MUST(setgroups, 0, NULL);
	MUST(setresgid, 1001, 1001, 1001);
	MUST(setresuid, 1001, 1001, 1001);
	MUST(pipe2, fds, 0);
	look("pipe", fds[0]);
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	look("socket", pair[0]);
	look("memfd", MUST(memfd_create, "name", 0));
	look("eventfd", MUST(eventfd2, 0, 0));
	look("epoll", MUST(epoll_create1, 0));
	return 0;
}
