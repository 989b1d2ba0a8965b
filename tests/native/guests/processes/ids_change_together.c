/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setuid(2) and its relatives, from root downwards. */
// needs: root
#include "native.h"

static void ids(void)
{
	u32 r, e, s, gr, ge, gs;

	MUST(getresuid, &r, &e, &s);
	MUST(getresgid, &gr, &ge, &gs);
	print("%u %u %u, %u %u %u\n", r, e, s, gr, ge, gs);
}

int main(void)
{
	SHOW(setresuid, 1, 2, 3);
	ids();
	SHOW(setresuid, -1, 1, -1);
	SHOW(setresuid, -1, 4, -1);
	SHOW(setresuid, 3, 3, 4);
	SHOW(setreuid, 3, 1);
	SHOW(setreuid, 9, -1);
	ids();
	SHOW(setuid, 3);
	SHOW(setuid, 9);
	SHOW(setuid, -1);
	SHOW(setgid, 5);
	ids();
	SHOW(setresgid, 5, 6, 7);
	SHOW(setregid, 5, 6);
	SHOW(setresgid, 0, 0, -1);
	SHOW(getuid);
	SHOW(geteuid);
	SHOW(getgid);
	SHOW(getegid);
	SHOW(getresuid, NOWHERE, NOWHERE, NOWHERE);
	SHOW(getresgid, NOWHERE, NOWHERE, NOWHERE);
	return 0;
}
