/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mseal(2): what is sealed can neither go nor change its rights. */
// since: 6.10
#include "native.h"

int main(void)
{
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	SHOW(mseal, p, PAGE, 1);
	SHOW(mseal, p + 1, PAGE, 0);
	SHOW(mseal, p, 0, 0);
	SHOW(mseal, p, -1UL, 0);
	SHOW(mseal, p, 1UL << 46, 0);
	SHOW(mseal, p, 2 * PAGE, 0);
	SHOW(mseal, p, PAGE, 0);
	SHOW(munmap, p, PAGE);
	SHOW(munmap, p, 4 * PAGE);
	SHOW(mprotect, p, PAGE, PROT_READ);
	SHOW(mremap, p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	SHOW(mmap, p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	SHOW(madvise, p, PAGE, MADV_DONTNEED);
	MUST(munmap, p + 3 * PAGE, PAGE);
	SHOW(mseal, p, 4 * PAGE, 0);
	SHOW(munmap, p + 2 * PAGE, PAGE);
	return 0;
}
