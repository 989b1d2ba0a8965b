/* SPDX-License-Identifier: GPL-2.0-or-later */
/* set_mempolicy(2): modes, flags and nodes; what get_mempolicy(2) tells of it; a child has its parent's. */
#include "native.h"

static u64 none[16], one[16], many[16], far[512];

static void tell(const char *what)
{
	int mode = -1;
	u64 nodes[16];

	SYS(get_mempolicy, &mode, nodes, 1024, NULL, 0);
	print("%s: %d %ld; ", what, mode, (long)nodes[0]);
	print("next node %s\n", result_name(SYS(get_mempolicy, &mode, NULL, 0, NULL, 1)));
}

int main(void)
{
	static const int flags[] = { 0, 0x2000, 0x4000, 0x8000, 0xc000, 0x6000 };

	one[0] = 1;
	many[0] = 5;
	far[500] = 1;
	for (int mode = -1; mode < 8; mode++) {
		for (u32 i = 0; i < COUNT(flags); i++) {
			print("mode %d flags %x: no mask %s,", mode, flags[i], result_name(SYS(set_mempolicy, mode | flags[i], NULL, 0)));
			print(" empty %s,", result_name(SYS(set_mempolicy, mode | flags[i], none, 1024)));
			print(" one %s,", result_name(SYS(set_mempolicy, mode | flags[i], one, 1024)));
			print(" two %s\n", result_name(SYS(set_mempolicy, mode | flags[i], many, 1024)));
			tell("then");
		}
		MUST(set_mempolicy, 0, NULL, 0);
	}
	SHOW(set_mempolicy, 2, one, 0);
	SHOW(set_mempolicy, 2, one, 1);
	SHOW(set_mempolicy, 2, one, 2);
	SHOW(set_mempolicy, 2, far, 32769);
	SHOW(set_mempolicy, 2, far, 32770);
	SHOW(set_mempolicy, 2, NOWHERE, 64);
	MUST(set_mempolicy, 3, one, 64);
	long pid = MUST(fork);
	if (!pid) {
		tell("child");
		leave(0);
	}
	reap(pid);
	return 0;
}
