/* SPDX-License-Identifier: GPL-2.0-or-later */
/* brk(2): forwards, backwards, and addresses that it ignores. */
#include "native.h"

int main(void)
{
	char *start = (void *)SYS(brk, 0);
	SAY(SYS(brk, start + 3 * PAGE) == (long)start + 3 * (long)PAGE);
	start[2 * PAGE] = 5;
	SAY(SYS(brk, start + PAGE) == (long)start + (long)PAGE);
	SAY(SYS(brk, start + 3 * PAGE) == (long)start + 3 * (long)PAGE);
	SAY(start[2 * PAGE]);
	SAY(SYS(brk, start - PAGE) == (long)start + 3 * (long)PAGE);
	SAY(SYS(brk, 1) == (long)start + 3 * (long)PAGE);
	SAY(SYS(brk, -1UL) == (long)start + 3 * (long)PAGE);
	SAY(SYS(brk, start + 5) == (long)start + 5);
	struct rlimit limit = { PAGE, PAGE };
	MUST(setrlimit, RLIMIT_DATA, &limit);
	SAY(SYS(brk, start + 64 * PAGE) == (long)start + 5);
	return 0;
}
