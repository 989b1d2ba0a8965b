/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exit(2) and exit_group(2): eight bits, from any thread. */
#include "native.h"

static int body(u64 status)
{
	leave(status);
}

int main(void)
{
	static const int statuses[] = { 0, 1, 127, 255, 256, -1, 1000 };
	volatile int tid;
	for (u32 i = 0; i < COUNT(statuses); i++) {
		long pid = MUST(fork);

		if (!pid) {
			if (i & 1)
				thread(body, statuses[i], &tid);
			else
				leave(statuses[i]);
			for (;;)
				SYS(pause);
		}
		reap(pid);
	}
	return 0;
}
