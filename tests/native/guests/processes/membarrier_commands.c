/* SPDX-License-Identifier: GPL-2.0-or-later */
/* membarrier(2): what is known, what must be registered. */
#include "native.h"

int main(void)
{
	SAY(SYS(membarrier, 0, 0, 0) > 0);
	SHOW(membarrier, 0, 4, 0);
	SHOW(membarrier, 1, 0, 0);
	SHOW(membarrier, 8, 0, 0);
	SHOW(membarrier, 16, 0, 0);
	SHOW(membarrier, 8, 0, 0);
	SHOW(membarrier, 1 << 30, 0, 0);
	SHOW(membarrier, 1, 1, 0);
	SHOW(membarrier, 3, 0, 0);
	return 0;
}
