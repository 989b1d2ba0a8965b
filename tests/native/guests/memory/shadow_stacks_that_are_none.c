/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
// differs: the machine's kernel knows shadow stacks, which its CPU has not; kernels may be built without
/* map_shadow_stack(2) where the CPU has none. */
#include "native.h"

int main(void)
{
	SHOW(map_shadow_stack, 0, PAGE, 0);
	SHOW(map_shadow_stack, 0, PAGE, 1);
	return 0;
}
