/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_FSIZE: what is written up to it, then SIGXFSZ and EFBIG. */
#include "native.h"

static void on_limit(int signo)
{
	print("%s\n", signal_name(signo));
}

int main(void)
{
	struct rlimit limit = { 10, 10 };
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0644), pipes[2];
	MUST(setrlimit, RLIMIT_FSIZE, &limit);
	handle(SIGXFSZ, on_limit, 0);
	SHOW(write, fd, "0123456789abc", 13);
	SHOW(write, fd, "x", 1);
	SHOW(write, fd, "x", 0);
	SHOW(pwrite64, fd, "x", 1, 20);
	SHOW(pwrite64, fd, "xyz", 3, 8);
	SHOW(ftruncate, fd, 11);
	SHOW(ftruncate, fd, 10);
	SHOW(truncate, "file", 11);
	SHOW(fallocate, fd, 0, 0, 11);
	handle(SIGXFSZ, SIG_IGN, 0);
	SHOW(write, fd, "x", 1);
	MUST(pipe2, pipes, 0);
	SHOW(write, pipes[1], "0123456789abc", 13);
	handle(SIGXFSZ, SIG_DFL, 0);
	long pid = MUST(fork);
	if (!pid) {
		SYS(write, fd, "x", 1);
		leave(0);
	}
	reap(pid);
	return 0;
}
