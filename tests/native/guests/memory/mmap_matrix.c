/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mmap(2): kinds, rights, descriptors, lengths and offsets, each with each. */
#include "native.h"

static const int flags[] = { 0, MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_ANONYMOUS };
static const int rights[] = { 0, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC, 0x100 };
static const u64 lengths[] = { 0, 1, PAGE, -1UL }, offsets[] = { 0, 1, PAGE, 1UL << 63 };

int main(void)
{
	put("file", "x");
	int fds[] = { MUST(open, "file", O_RDONLY), MUST(open, "file", O_WRONLY), MUST(open, "file", O_RDWR), MUST(open, ".", O_RDONLY), 99, -1 };
	for (u32 f = 0; f < COUNT(flags); f++)
		for (u32 d = 0; d < COUNT(fds); d++)
			for (u32 r = 0; r < COUNT(rights); r++) {
				print("%x %d %x:", flags[f], (int)d, rights[r]);
				for (u32 l = 0; l < COUNT(lengths); l++)
					for (u32 o = 0; o < COUNT(offsets); o++) {
						long p = SYS(mmap, 0, lengths[l], rights[r], flags[f], fds[d], offsets[o]);

						print(" %s", result_name(p));
						if (!failed(p))
							MUST(munmap, p, lengths[l]);
					}
				print("\n");
			}
	return 0;
}
