/* SPDX-License-Identifier: GPL-2.0-or-later */
/* set_robust_list(2), get_robust_list(2), set_tid_address(2), gettid(2). */
#include "native.h"

int main(void)
{
	u64 head[3] = { 0 }, at = 0, size = 0;
	SHOW(set_robust_list, head, 24);
	SHOW(set_robust_list, head, 23);
	SHOW(get_robust_list, 0, &at, &size);
	SAY(at == (u64)head && size == 24);
	SHOW(get_robust_list, 1 << 30, &at, &size);
	SHOW(get_robust_list, 0, NOWHERE, &size);
	SHOW(get_robust_list, 0, &at, NOWHERE);
	SAY(SYS(set_tid_address, head) == SYS(gettid));
	return 0;
}
