/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setgid(2), setregid(2), setresgid(2) by root, then without it. */
// needs: root
#include "native.h"

static void ids(void)
{
	u32 r, e, s;

	MUST(getresgid, &r, &e, &s);
	print("%u %u %u\n", r, e, s);
}

int main(void)
{
	SHOW(setregid, 1, 2);
	ids();
	SHOW(setresgid, -1, 3, 4);
	ids();
	SHOW(setgid, 5);
	ids();
	SHOW(setgid, -1);
	SHOW(setregid, -1, -1);
	SHOW(setreuid, 7, 8);
	SHOW(setregid, 9, -1);
	SHOW(setresgid, 9, -1, -1);
	SHOW(setgid, 9);
	SHOW(setgid, 5);
	SHOW(setregid, 5, 5);
	SHOW(setresgid, 5, 5, 5);
	SHOW(setfsuid, -1);
	SHOW(setfsgid, -1);
	return 0;
}
