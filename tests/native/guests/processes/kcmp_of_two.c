/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kcmp(2): descriptors, memory, kinds. */
#include "native.h"

int main(void)
{
	int fds[2];
	MUST(pipe2, fds, 0);
	long me = SYS(getpid), copy = MUST(dup, fds[0]);
	SHOW(kcmp, me, me, 0, fds[0], copy);
	SAY(SYS(kcmp, me, me, 0, fds[0], fds[1]) > 0);
	SHOW(kcmp, me, me, 0, 99, 99);
	SHOW(kcmp, me, me, 1, 0, 0);
	SHOW(kcmp, me, me, 99, 0, 0);
	SHOW(kcmp, 1 << 30, me, 1, 0, 0);
	SHOW(kcmp, me, 1 << 30, 99, 0, 0);
	return 0;
}
