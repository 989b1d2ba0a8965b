/* SPDX-License-Identifier: GPL-2.0-or-later */
/* select(2) and pselect6(2): sets, counts, time, bad descriptors. */
#include "native.h"

int main(void)
{
	int fds[2];
	u64 r[16], w[16], e[16];
	struct timeval zero = { 0, 0 }, bad = { 0, -1 }, some = { 0, 1000 };
	struct timespec tzero = { 0, 0 }, tbad = { 0, 1000000000 };
	MUST(pipe2, fds, 0);
	#define SET() (r[0] = 1UL << fds[0], w[0] = 1UL << fds[1], e[0] = 1UL << fds[0])
	SET();
	SHOW(select, fds[1] + 1, r, w, e, &zero);
	print("%d %d %d\n", r[0] != 0, w[0] != 0, e[0] != 0);
	MUST(write, fds[1], "x", 1);
	SET();
	SHOW(select, fds[1] + 1, r, w, e, NULL);
	print("%d %d %d\n", r[0] != 0, w[0] != 0, e[0] != 0);
	SET();
	SHOW(select, fds[0], r, NULL, NULL, &zero);
	SHOW(select, 0, NULL, NULL, NULL, &some);
	print("%ld %ld\n", (long)some.tv_sec, (long)some.tv_usec);
	SHOW(select, -1, NULL, NULL, NULL, &zero);
	SHOW(select, -1, NULL, NULL, NULL, &bad);
	SHOW(select, 0, NULL, NULL, NULL, &bad);
	SHOW(select, 0, NULL, NULL, NULL, NOWHERE);
	SHOW(select, 1, NOWHERE, NULL, NULL, &zero);
	r[0] = 1UL << 40;
	SHOW(select, 50, r, NULL, NULL, &zero);
	SET();
	SHOW(pselect6, fds[1] + 1, r, w, NULL, &tzero, NULL);
	SHOW(pselect6, 0, NULL, NULL, NULL, &tbad, NULL);
	struct { void *mask; u64 size; } sigmask = { r, 4 };
	SHOW(pselect6, 0, NULL, NULL, NULL, &tzero, &sigmask);
	SHOW(pselect6, 0, NULL, NULL, NULL, &tzero, NOWHERE);
	SHOW(pselect6, -1, NULL, NULL, NULL, &tzero, NULL);
	return 0;
}
