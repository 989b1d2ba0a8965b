/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MADV_DONTFORK and MADV_WIPEONFORK: what the child has. */
#include "native.h"

static void on_segv(int signo)
{
	print("%s\n", signal_name(signo));
	leave(0);
}

int main(void)
{
	char *p = anonymous(PAGE, MAP_PRIVATE), *q = anonymous(PAGE, MAP_PRIVATE);
	p[0] = q[0] = 5;
	SHOW(madvise, p, PAGE, MADV_WIPEONFORK);
	SHOW(madvise, q, PAGE, MADV_DONTFORK);
	long pid = MUST(fork);
	if (!pid) {
		handle(SIGSEGV, on_segv, 0);
		SAY(p[0]);
		SAY(q[0]);
		leave(1);
	}
	reap(pid);
	print("%d %d\n", p[0], q[0]);
	return 0;
}
