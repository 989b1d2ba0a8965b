/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A private mapping of /dev/zero into which a huge page fits lies where its offset does, modulo 2 MiB. */
// since: 6.13
#include "native.h"

#define HUGE (2UL << 20)

static void show_place(const char *what, long at)
{
	if (failed(at))
		print(" %s %s", what, errno_name(-at));
	else
		print(" %s %lx", what, at % HUGE / PAGE);
}

int main(void)
{
	static const u64 sizes[] = { 512, 513, 600, 1024, 1500 };
	int zero = MUST(open, "/dev/zero", O_RDWR);

	for (u32 i = 0; i < COUNT(sizes); i++)
		for (u64 offset = 0; offset < 4; offset++) {
			u64 size = sizes[i] * PAGE, end = offset + sizes[i];
			char *p = (void *)MUST(mmap, 0, 2 * PAGE, PROT_READ, MAP_PRIVATE, zero, offset * PAGE);

			print("%ld pages from %ld:", sizes[i], offset);
			if (offset ? end >= 1024 : end >= 512) {
				show_place("placed", SYS(mmap, 0, size, PROT_READ, MAP_PRIVATE, zero, offset * PAGE));
				MUST(mmap, p - PAGE, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
				MUST(mmap, p, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, zero, offset * PAGE);
				show_place("moved", SYS(mremap, p, 2 * PAGE, size, MREMAP_MAYMOVE));
			}
			print("\n");
		}
	print("a hint is taken: %d\n", SYS(mmap, 0x200000001000, HUGE, PROT_READ, MAP_PRIVATE, zero, 0) == 0x200000001000);
	return 0;
}
