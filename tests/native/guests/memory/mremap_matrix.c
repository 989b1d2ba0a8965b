/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mremap(2): sizes, flags and places, each with each. */
// since: 6.17
#include "native.h"

static const u64 sizes[] = { 0, 1, PAGE, 2 * PAGE, 3 * PAGE, 1UL << 47, -1UL };
static const int flags[] = { 0, 1, 2, 3, 4, 5, 7, 8 };

int main(void)
{
	char *area = (void *)MUST(mmap, 0, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (u32 o = 0; o < COUNT(sizes); o++)
		for (u32 n = 0; n < COUNT(sizes); n++) {
			print("%lx %lx:", (long)sizes[o], (long)sizes[n]);
			for (u32 f = 0; f < COUNT(flags); f++)
				for (u32 to = 0; to < 4; to++) {
					if (to && !(flags[f] & 2))
						continue;
					char *p = (void *)MUST(mmap, area, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
					MUST(mmap, area + 2 * PAGE, 62 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
					char *where = (char *[]){ area + 32 * PAGE, area + 1, area + PAGE, (char *)-PAGE }[to];
					long result = SYS(mremap, p, sizes[o], sizes[n], flags[f], where);
					print(" %s", failed(result) ? errno_name(-result) : result == (long)p ? "same" : "moved");
					if (!failed(result) && (result < (long)area || result >= (long)area + 64 * (long)PAGE))
						MUST(munmap, result, sizes[n]);
				}
			print("\n");
		}
	return 0;
}
