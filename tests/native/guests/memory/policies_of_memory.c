/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.5
// needs: root, proc
/* mbind(2) and set_mempolicy_home_node(2) on one node: which policies a range may have, and how it splits a mapping. */
#include "pages.h"

#define MODE_FLAGS(x) ((x) << 13)

static void policy_at(const char *p)
{
	int mode = -1;
	u64 nodes[16] = { 0 };
	long r = SYS(get_mempolicy, &mode, nodes, 1024, p, 2);

	print("  policy %s %x nodes %lx\n", result_name(r), mode, nodes[0]);
}

int main(void)
{
	u64 one = 1, two = 2, none = 0, three = 3;
	char *p = anonymous(8 * PAGE, MAP_PRIVATE);

	p[0] = 1;
	for (int mode = 0; mode < 8; mode++) {
		print("mode %d\n", mode);
		SHOW(mbind, p, PAGE, mode, &one, 64, 0);
		policy_at(p);
		SHOW(mbind, p, PAGE, mode, &none, 64, 0);
		policy_at(p);
		SHOW(mbind, p, PAGE, mode, NULL, 0, 0);
		policy_at(p);
		SHOW(mbind, p, PAGE, mode, &three, 64, 0);
		policy_at(p);
		SHOW(mbind, p, PAGE, mode, &two, 64, 0);
		for (int flags = 1; flags < 8; flags++) {
			print("flags %d: ", flags);
			SHOW(mbind, p, PAGE, mode | MODE_FLAGS(flags), &one, 64, 0);
			policy_at(p);
		}
	}
	for (int flags = 0; flags < 16; flags++) {
		print("flags %d: ", flags);
		SHOW(mbind, p, PAGE, 2, &one, 64, flags);
	}
	SHOW(mbind, p + 1, PAGE, 2, &one, 64, 0);
	SHOW(mbind, p, 0, 2, &one, 64, 0);
	SHOW(mbind, p, 0, 99, &one, 64, 0);
	SHOW(mbind, p, 0, 2, &two, 64, 0);
	SHOW(mbind, p, 0, 2, &one, 64, 64);
	SHOW(mbind, p, -1L, 2, &one, 64, 0);
	SHOW(mbind, p, -PAGE, 2, &one, 64, 0);
	SHOW(mbind, p, 1UL << 63, 2, &one, 64, 0);
	SHOW(mbind, p, PAGE, 2, NOWHERE, 64, 0);
	SHOW(mbind, p, PAGE, 2, &one, 1, 0);
	SHOW(mbind, p, PAGE, 2, &one, 2, 0);
	SHOW(mbind, p, PAGE, 2, &one, 1UL << 20, 0);

	SHOW(mbind, p, 8 * PAGE, 0, NULL, 0, 0);
	SAY(mappings(p, 8 * PAGE));
	SHOW(mbind, p + 2 * PAGE, 2 * PAGE, 2, &one, 64, 0);
	SAY(mappings(p, 8 * PAGE));
	SHOW(mbind, p + 4 * PAGE, PAGE, 2, &one, 64, 0);
	SAY(mappings(p, 8 * PAGE));
	SHOW(mbind, p + 5 * PAGE, PAGE, 3, &one, 64, 0);
	SAY(mappings(p, 8 * PAGE));
	SHOW(set_mempolicy_home_node, p, PAGE, 0, 0);
	SHOW(set_mempolicy_home_node, p, 4 * PAGE, 0, 0);
	SHOW(set_mempolicy_home_node, p, 8 * PAGE, 0, 0);
	SHOW(set_mempolicy_home_node, p + 5 * PAGE, PAGE, 0, 0);
	SHOW(set_mempolicy_home_node, p + 2 * PAGE, PAGE, 1, 0);
	SHOW(set_mempolicy_home_node, p + 2 * PAGE, PAGE, 0, 1);
	SHOW(set_mempolicy_home_node, p + 2 * PAGE + 1, PAGE, 0, 0);
	SHOW(set_mempolicy_home_node, p + 2 * PAGE, 0, 0, 0);
	SHOW(set_mempolicy_home_node, NOWHERE + PAGE - 16, PAGE, 0, 0);
	SAY(mappings(p, 8 * PAGE));
	if (!MUST(fork)) {
		policy_at(p + 2 * PAGE);
		leave(0);
	}
	reap(-1);
	SHOW(mbind, p, 8 * PAGE, 0, NULL, 0, 0);
	SAY(mappings(p, 8 * PAGE));
	MUST(munmap, p + 3 * PAGE, PAGE);
	SHOW(mbind, p, 8 * PAGE, 2, &one, 64, 0);
	SHOW(mbind, p, 8 * PAGE, 0, NULL, 0, 0);
	SHOW(mbind, p + 3 * PAGE, PAGE, 0, NULL, 0, 0);
	SHOW(mbind, p + 3 * PAGE, 2 * PAGE, 2, &one, 64, 0);
	SHOW(mbind, p + 2 * PAGE, 2 * PAGE, 2, &one, 64, 0);
	policy_at(p + 2 * PAGE);
	policy_at(p + 3 * PAGE);
	become(1000);
	SHOW(mbind, p, PAGE, 2, &one, 64, 4);
	SHOW(mbind, p, PAGE, 2, &one, 64, 2);
	return 0;
}
