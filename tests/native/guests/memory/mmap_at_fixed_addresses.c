/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAP_FIXED replaces, MAP_FIXED_NOREPLACE does not, a hint is only one. */
#include "native.h"

int main(void)
{
	char *p = (void *)MUST(mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = p[PAGE] = 1;
	SAY(SYS(mmap, p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)p);
	SAY(p[0]);
	SAY(p[PAGE]);
	SHOW(mmap, p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	SAY(SYS(mmap, p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != (long)p + (long)PAGE);
	MUST(munmap, p + PAGE, PAGE);
	SAY(SYS(mmap, p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == (long)p + (long)PAGE);
	MUST(munmap, p + PAGE, PAGE);
	SAY(SYS(mmap, p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (long)p + (long)PAGE);
	return 0;
}
