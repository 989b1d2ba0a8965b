/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getgroups(2) and setgroups(2). */
// needs: root
#include "native.h"

int main(void)
{
	u32 groups[4] = { 30, 10, 20, 10 }, got[4];
	SHOW(setgroups, 0, NULL);
	SHOW(getgroups, 0, NULL);
	SHOW(setgroups, 4, groups);
	SHOW(getgroups, 0, NULL);
	SHOW(getgroups, 4, got);
	print("%u %u %u %u\n", got[0], got[1], got[2], got[3]);
	SHOW(getgroups, 3, got);
	SHOW(getgroups, -1, got);
	SHOW(getgroups, 4, NOWHERE);
	SHOW(setgroups, 65537, groups);
	SHOW(setgroups, 4, NOWHERE);
	groups[0] = -1;
	SHOW(setgroups, 1, groups);
	become(1000);
	SHOW(setgroups, 0, NULL);
	SHOW(setgroups, 65537, NOWHERE);
	SHOW(getgroups, 4, got);
	return 0;
}
