/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root
/* process_madvise(2): advice to oneself and to another, and how far it gets; process_mrelease(2). */
#include "native.h"

#define SELF -10001

int main(void)
{
	char *p = anonymous(8 * PAGE, MAP_PRIVATE), *q = anonymous(8 * PAGE, MAP_PRIVATE);
	struct iovec v[4] = { { p, PAGE }, { q, 2 * PAGE }, { p + 2 * PAGE, PAGE }, { q + 4 * PAGE, 100 } };
	p[0] = q[PAGE] = p[2 * PAGE] = p[PAGE] = 1;
	int me = MUST(pidfd_open, SYS(getpid), 0);
	SHOW(process_madvise, me, v, 3, MADV_DONTNEED, 0);
	print("%d %d %d %d\n", p[0], q[PAGE], p[2 * PAGE], p[PAGE]);
	SHOW(process_madvise, SELF, v, 4, MADV_COLD, 0);
	SHOW(process_madvise, SELF - 1, v, 4, MADV_COLD, 0);
	SHOW(process_madvise, SELF + 1, v, 4, MADV_COLD, 0);
	for (int advice = 0; advice < 30; advice++) {
		if (advice == MADV_REMOVE || advice == MADV_MERGEABLE || advice == MADV_UNMERGEABLE || advice == 25 || advice == 14)
			continue;
		print("%d: ", advice);
		SHOW(process_madvise, SELF, v, 4, advice, 0);
	}
	SHOW(process_madvise, SELF, v, 4, MADV_DOFORK, 0);
	SHOW(process_madvise, SELF, v, 4, MADV_KEEPONFORK, 0);
	SHOW(process_madvise, SELF, v, 4, 102, 0);
	SHOW(process_madvise, SELF, v, 4, 103, 0);
	SHOW(process_madvise, SELF, v, 4, -1, 0);
	SHOW(process_madvise, SELF, v, 0, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v, 0, -1, 0);
	SHOW(process_madvise, SELF, NOWHERE, 0, MADV_COLD, 0);
	SHOW(process_madvise, SELF, NOWHERE, 1, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v, 1025, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v, 4, MADV_COLD, 1);
	SHOW(process_madvise, -1, v, 4, MADV_COLD, 0);
	SHOW(process_madvise, 1, v, 4, MADV_COLD, 0);
	v[1].iov_base = q + 1;
	SHOW(process_madvise, SELF, v, 3, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v + 1, 2, MADV_COLD, 0);
	v[1].iov_base = q;
	v[1].iov_len = -1;
	SHOW(process_madvise, SELF, v, 3, MADV_COLD, 0);
	v[1].iov_len = 1UL << 50;
	SHOW(process_madvise, SELF, v, 3, MADV_COLD, 0);
	v[1].iov_len = 0;
	SHOW(process_madvise, SELF, v, 3, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v + 1, 1, MADV_COLD, 0);
	v[1].iov_len = 2 * PAGE;
	MUST(munmap, q + PAGE, PAGE);
	SHOW(process_madvise, SELF, v, 3, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v + 1, 2, MADV_COLD, 0);
	v[1].iov_len = PAGE;

	long child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	int fd = MUST(pidfd_open, child, 0);
	for (int advice = 0; advice < 24; advice++) {
		print("%d: ", advice);
		SHOW(process_madvise, fd, v, 2, advice, 0);
	}
	SHOW(process_madvise, fd, v, 2, 102, 0);
	SHOW(process_madvise, fd, v, 2, -1, 0);
	SHOW(process_mrelease, fd, 0);
	SHOW(process_mrelease, fd, 1);
	SHOW(process_mrelease, me, 0);
	SHOW(process_mrelease, -1, 0);
	SHOW(process_mrelease, 1, 0);
	siginfo_t info;
	MUST(kill, child, SIGKILL);
	MUST(waitid, P_PID, child, &info, WEXITED | WNOWAIT, NULL);
	SHOW(process_madvise, fd, v, 2, MADV_COLD, 0);
	SHOW(process_mrelease, fd, 0);
	reap(child);
	SHOW(process_madvise, fd, v, 2, MADV_COLD, 0);
	SHOW(process_mrelease, fd, 0);
	child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	fd = MUST(pidfd_open, child, 0);
	long killer = MUST(fork);
	if (!killer) {
		sleep_ms(300);
		leave(failed(SYS(kill, child, SIGKILL)));
	}
	become(1000);
	SHOW(process_madvise, fd, v, 2, MADV_COLD, 0);
	SHOW(process_madvise, SELF, v, 2, MADV_COLD, 0);
	reap(killer);
	reap(child);
	return 0;
}
