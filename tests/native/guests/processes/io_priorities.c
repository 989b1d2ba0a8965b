/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioprio_set(2) and ioprio_get(2). */
#include "native.h"

int main(void)
{
	SHOW(ioprio_get, 1, 0);
	SHOW(ioprio_set, 1, 0, 2 << 13 | 3);
	SHOW(ioprio_get, 1, 0);
	SHOW(ioprio_set, 1, 0, 2 << 13 | 8);
	SHOW(ioprio_set, 1, 0, 3 << 13);
	SHOW(ioprio_set, 1, 0, 5 << 13);
	SHOW(ioprio_set, 1, 0, 1);
	SHOW(ioprio_set, 9, 0, 2 << 13);
	SHOW(ioprio_get, 9, 0);
	SHOW(ioprio_set, 1, 1 << 30, 2 << 13);
	SHOW(ioprio_get, 1, 1 << 30);
	return 0;
}
