/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arch_prctl(2): FS and GS. */
#include "native.h"

int main(void)
{
	u64 value = 1;
	SHOW(arch_prctl, 0x1002, &value);
	SHOW(arch_prctl, 0x1003, &value);
	SAY(value == (u64)&value);
	SHOW(arch_prctl, 0x1001, 0x1234);
	SHOW(arch_prctl, 0x1004, &value);
	print("%lx\n", value);
	SHOW(arch_prctl, 0x1002, 1UL << 60);
	SHOW(arch_prctl, 0x1001, 1UL << 60);
	SHOW(arch_prctl, 0x1003, NOWHERE);
	SHOW(arch_prctl, 0x9999, 0);
	return 0;
}
