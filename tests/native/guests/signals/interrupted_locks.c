/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flock(2) and F_SETLKW without SA_RESTART. */
#include "native.h"
#include <sys/file.h>

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	int ready[2];
	char byte;
	struct flock lock = { .l_type = F_WRLCK };
	put("file", "x");
	put("other", "x");
	MUST(pipe2, ready, 0);
	int fd = MUST(open, "file", O_RDWR), record = MUST(open, "other", O_RDWR);
	long holder = MUST(fork);
	if (!holder) {
		fd = MUST(open, "file", O_RDWR);
		MUST(flock, fd, LOCK_EX);
		MUST(fcntl, record, F_SETLKW, &lock);
		MUST(write, ready[1], "x", 1);
		for (;;)
			SYS(pause);
	}
	MUST(read, ready[0], &byte, 1);
	handle(SIGUSR1, on_signal, 0);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(flock, fd, LOCK_EX);
	SHOW(flock, fd, LOCK_SH);
	SHOW(fcntl, record, F_SETLKW, &lock);
	SHOW(fcntl, record, F_SETLK, &lock);
	end_child(pid);
	end_child(holder);
	SHOW(flock, fd, LOCK_EX);
	SHOW(fcntl, record, F_SETLKW, &lock);
	return 0;
}
