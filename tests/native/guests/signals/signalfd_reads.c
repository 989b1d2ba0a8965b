/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signalfd4(2) and signalfd(2): what is read, what is pending, sizes. */
#include "native.h"

int main(void)
{
	struct { u32 signo; int error, code; u32 pid, uid; int fd; u32 tid, band, overrun, trapno; int status, number; u64 rest[10]; } info[2];
	u64 mask = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
	long me = SYS(getpid);
	int fds[2];
	_Static_assert(sizeof(info[0]) == 128, "struct signalfd_siginfo");
	MUST(pipe2, fds, 0);
	block_only(mask);
	int fd = SHOW(signalfd4, -1, &mask, 8, 04000);
	SHOW(read, fd, info, sizeof(info));
	MUST(kill, me, SIGUSR2);
	MUST(kill, me, SIGUSR1);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	SHOW(poll, &p, 1, 0);
	SHOW(read, fd, info, 127);
	SHOW(read, fd, info, sizeof(info));
	print("%u %d, %u %d\n", info[0].signo, info[0].code, info[1].signo, info[0].pid == me);
	SHOW(read, fd, NOWHERE, 128);
	MUST(kill, me, SIGUSR1);
	SHOW(read, fd, NOWHERE, 128);
	mask = SIGNAL_BIT(SIGTERM);
	SHOW(signalfd4, fd, &mask, 8, 0);
	SHOW(signalfd4, -1, &mask, 4, 0);
	SHOW(signalfd4, -1, &mask, 8, 1);
	SHOW(signalfd4, -1, NOWHERE, 8, 1);
	SHOW(signalfd4, -1, NOWHERE, 8, 0);
	SHOW(signalfd4, 99, &mask, 8, 0);
	SHOW(signalfd4, fds[0], &mask, 8, 0);
	SHOW(signalfd, -1, &mask, 8);
	SHOW(signalfd, -1, &mask, 7);
	SHOW(write, fd, info, 128);
	return 0;
}
