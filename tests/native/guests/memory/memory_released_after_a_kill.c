/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 5.15
/* process_mrelease(2) right after a process was killed. */
#include "native.h"

int main(void)
{
	char *p = anonymous(64 * PAGE, MAP_PRIVATE);
	int ends[2];
	MUST(pipe, ends);
	long child = MUST(fork);
	if (!child) {
		memset(p, 1, 64 * PAGE);
		MUST(write, ends[1], "x", 1);
		for (;;)
			;
	}
	int fd = MUST(pidfd_open, child, 0);
	MUST(read, ends[0], p, 1);
	MUST(kill, child, SIGKILL);
	long r = SYS(process_mrelease, fd, 0);
	SAY(r == 0 || r == -ESRCH); /* or it has ended already */
	reap(child);
	return 0;
}
