/* SPDX-License-Identifier: GPL-2.0-or-later */
/* read(2), wait4(2), nanosleep(2) with and without SA_RESTART. */
#include "native.h"

static void on_signal(int signo)
{
	(void)signo;
	print("handler\n");
}

static long later(long me, int fd, int status)
{
	long pid = MUST(fork);

	if (!pid) {
		sleep_ms(30);
		MUST(kill, me, SIGUSR1);
		sleep_ms(30);
		if (fd >= 0)
			MUST(write, fd, "x", 1);
		leave(status);
	}
	return pid;
}

int main(void)
{
	char byte;
	int fds[2], status;
	long me = SYS(getpid), pid;
	MUST(pipe2, fds, 0);
	handle(SIGUSR1, on_signal, SA_RESTART);
	pid = later(me, fds[1], 0);
	SHOW(read, fds[0], &byte, 1);
	reap(pid);
	pid = later(me, -1, 3);
	SAY(SYS(wait4, pid, &status, 0, NULL) == pid);
	handle(SIGUSR1, on_signal, 0);
	pid = later(me, fds[1], 0);
	SHOW(read, fds[0], &byte, 1);
	reap(pid);
	SHOW(read, fds[0], &byte, 1);
	pid = later(me, -1, 3);
	SHOW(wait4, pid, &status, 0, NULL);
	reap(pid);
	handle(SIGUSR1, on_signal, SA_RESTART);
	pid = later(me, -1, 0);
	struct timespec time = { 10, 0 }, left = { -1, -1 };
	SHOW(nanosleep, &time, &left);
	SAY(left.tv_sec == 9 && left.tv_nsec > 0);
	reap(pid);
	return 0;
}
