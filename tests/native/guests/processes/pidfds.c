/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2), waitid(P_PIDFD). */
#include "native.h"

int main(void)
{
	siginfo_t info;
	struct pollfd p;
	int fds[2];
	SHOW(pidfd_open, 1 << 30, 0);
	SHOW(pidfd_open, -1, 0);
	SHOW(pidfd_open, 0, 0);
	SHOW(pidfd_open, SYS(getpid), 1);
	MUST(pipe2, fds, 0);
	long pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	int fd = SHOW(pidfd_open, pid, 0);
	SHOW(fcntl, fd, F_GETFD);
	SHOW(pidfd_send_signal, fd, 0, NULL, 0);
	SHOW(pidfd_send_signal, fd, 65, NULL, 0);
	SHOW(pidfd_send_signal, fd, 0, NOWHERE, 0);
	SHOW(pidfd_send_signal, fd, 0, NULL, 0x100);
	SHOW(pidfd_send_signal, 99, 0, NULL, 0);
	SHOW(pidfd_send_signal, fds[0], 0, NULL, 0);
	SHOW(pidfd_getfd, fd, fds[0], 0);
	SHOW(pidfd_getfd, fd, 98, 0);
	SHOW(pidfd_getfd, fd, fds[0], 1);
	SHOW(pidfd_getfd, fds[0], 0, 0);
	SHOW(pidfd_getfd, 99, 0, 0);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	SHOW(poll, &p, 1, 0);
	SHOW(pidfd_send_signal, fd, SIGTERM, NULL, 0);
	SHOW(poll, &p, 1, -1);
	SHOW(waitid, P_PIDFD, fd, &info, WEXITED, NULL);
	print("%d %d\n", info.si_code, info.si_status);
	SHOW(pidfd_send_signal, fd, 0, NULL, 0);
	SHOW(pidfd_getfd, fd, 0, 0);
	SHOW(waitid, P_PIDFD, fd, &info, WEXITED, NULL);
	SHOW(read, fd, &info, 8);
	return 0;
}
