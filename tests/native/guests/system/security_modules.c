/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lsm_list_modules(2), lsm_get_self_attr(2), lsm_set_self_attr(2) without a module that has attributes. */
// since: 6.18
#include "native.h"

#define __NR_lsm_get_self_attr 459
#define __NR_lsm_set_self_attr 460
#define __NR_lsm_list_modules 461

int main(void)
{
	u64 ids[64] = { 0 }, ctx[8] = { 0 };
	u32 size = 0;
	SHOW(lsm_list_modules, ids, &size, 0);
	print("a multiple of 8: %d\n", size && size % 8 == 0);
	SHOW(lsm_list_modules, ids, &size, 1);
	SHOW(lsm_list_modules, ids, NULL, 0);
	size = sizeof(ids);
	SHOW(lsm_list_modules, NULL, &size, 0);
	long n = SYS(lsm_list_modules, ids, &size, 0);
	print("as many as there is room for: %d\n", n == size / 8);
	for (long i = 0; i < n; i++)
		if (ids[i] == 100 || ids[i] == 101)
			print("module %ld\n", ids[i]);
	size = 100;
	SHOW(lsm_get_self_attr, 100, ctx, &size, 0);
	SAY(size);
	size = 100;
	SHOW(lsm_get_self_attr, 100, NULL, &size, 0);
	SHOW(lsm_get_self_attr, 0, ctx, &size, 0);
	SHOW(lsm_get_self_attr, 100, ctx, &size, 1);
	SHOW(lsm_get_self_attr, 100, NULL, &size, 1);
	SHOW(lsm_get_self_attr, 100, NOWHERE, &size, 1);
	SHOW(lsm_get_self_attr, 100, ctx, &size, 2);
	SHOW(lsm_get_self_attr, 100, ctx, NULL, 0);
	SHOW(lsm_get_self_attr, 100, ctx, NOWHERE, 0);
	ctx[0] = 100;
	SHOW(lsm_get_self_attr, 100, ctx, &size, 1);
	SHOW(lsm_set_self_attr, 100, ctx, 32, 0);
	SHOW(lsm_set_self_attr, 100, ctx, 32, 1);
	SHOW(lsm_set_self_attr, 100, ctx, 31, 0);
	SHOW(lsm_set_self_attr, 100, ctx, 4097, 0);
	SHOW(lsm_set_self_attr, 100, NOWHERE, 32, 0);
	ctx[2] = 32;
	SHOW(lsm_set_self_attr, 100, ctx, 32, 0);
	ctx[3] = 1;
	SHOW(lsm_set_self_attr, 100, ctx, 40, 0);
	ctx[2] = 33;
	SHOW(lsm_set_self_attr, 100, ctx, 40, 0);
	ctx[3] = -1UL;
	SHOW(lsm_set_self_attr, 100, ctx, 40, 0);
	return 0;
}
