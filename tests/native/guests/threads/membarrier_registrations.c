/* SPDX-License-Identifier: GPL-2.0-or-later */
/* since: 6.3 */
/* What a process has registered for membarrier(2), what a child knows of it, and the flag that names a CPU. */
#include "native.h"

int main(void)
{
	SHOW(membarrier, 0, 0, 0);
	SHOW(membarrier, 128, 0, 0);
	SHOW(membarrier, 128, 1, 0);
	SHOW(membarrier, 128, 2, 0);
	SHOW(membarrier, 256, 0, 0);
	SHOW(membarrier, 512, 0, 0);
	SHOW(membarrier, 8, 0, 0);
	SHOW(membarrier, 128, 0, 0);
	SHOW(membarrier, 128, 1, 0);
	SHOW(membarrier, 128, 1, 9999);
	SHOW(membarrier, 128, 1, -1);
	SHOW(membarrier, 512, 1, 0);
	SHOW(membarrier, 0, 1, 0);
	SHOW(membarrier, 256, 1, 0);
	SHOW(membarrier, 16, 0, 0);
	SHOW(membarrier, 8, 0, 0);
	SHOW(membarrier, 4, 0, 0);
	SHOW(membarrier, 64, 0, 0);
	SHOW(membarrier, 32, 0, 0);
	SHOW(membarrier, 512, 0, 0);
	long pid = MUST(fork);
	if (!pid) {
		SHOW(membarrier, 512, 0, 0);
		SHOW(membarrier, 8, 0, 0);
		leave(0);
	}
	reap(pid);
	return 0;
}
