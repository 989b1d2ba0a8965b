/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MREMAP_DONTUNMAP takes its address as a hint, and minds that it is one of a page. */
#include "native.h"

int main(void)
{
	int flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
	char *area = (char *)MUST(mmap, 0, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *page = (char *)MUST(mmap, area, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	MUST(munmap, area + PAGE, 63 * PAGE);
	*page = 'x';
	SHOW(mremap, page, PAGE, PAGE, flags, 123);
	SHOW(mremap, page, PAGE, PAGE, flags, page);
	SHOW(mremap, page, PAGE, 2 * PAGE, flags, 0);
	SHOW(mremap, page, PAGE, PAGE, MREMAP_DONTUNMAP, 0);
	long moved = SYS(mremap, page, PAGE, PAGE, flags, page + 8 * PAGE);
	SAY(moved == (long)page + 8 * (long)PAGE);
	SAY(*(char *)moved);
	SAY(*page);
	return 0;
}
