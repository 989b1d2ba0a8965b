/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where mmap(2) puts what it may choose: MAP_32BIT and MAP_ABOVE4G, hints below vm.mmap_min_addr and within the gap of a
 * stack, and large anonymous memory at a multiple of 2 MiB.
 */
// since: 6.15
#include "mappings.h"

#define MIB (1UL << 20)

static u64 map(u64 hint, u64 size, int flags)
{
	return SYS(mmap, hint, size, RW, flags, -1, 0);
}

int main(void)
{
	u64 p = map(0, PAGE, PRIVATE | MAP_32BIT), q;

	SAY(p >= 1UL << 30 && p < 2UL << 30);
	q = map(0x50000000, PAGE, PRIVATE | MAP_32BIT);
	SAY(q == 0x50000000);
	q = map(0x90000000, PAGE, PRIVATE | MAP_32BIT);
	SAY(q >= 1UL << 30 && q < 2UL << 30);
	print("more than there is: %s\n", result_name(map(0, 1UL << 30, PRIVATE | MAP_32BIT)));
	SAY(map(0, PAGE, PRIVATE | MAP_ABOVE4G_) >= 1UL << 32);
	SAY(map(0x123000, PAGE, PRIVATE | MAP_ABOVE4G_));
	SAY(map(0x1000, PAGE, PRIVATE));
	SAY(map(0x300fff, PAGE, PRIVATE));

	u64 stack = (u64)area() + 600 * PAGE;
	at((char *)stack, 1, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
	SAY(map(stack - PAGE, PAGE, PRIVATE) == stack - PAGE);
	SAY(map(stack - 256 * PAGE, PAGE, PRIVATE) == stack - 256 * PAGE);
	SAY(map(stack - 257 * PAGE, PAGE, PRIVATE) == stack - 257 * PAGE);
	SAY(map(stack - PAGE, PAGE, PRIVATE | MAP_FIXED_NOREPLACE) == stack - PAGE);
	SAY(map(stack + PAGE, PAGE, PRIVATE) == stack + PAGE);

	map(0, PAGE, PRIVATE);
	SAY(map(0, 4 * MIB, PRIVATE) % (2 * MIB));
	map(0, PAGE, PRIVATE);
	p = map(0, 2 * MIB, PRIVATE | MAP_NORESERVE);
	SAY(p % (2 * MIB));
	SAY(map(0, 2 * MIB, PRIVATE) == p - 2 * MIB);
	p = map(0, PAGE, PRIVATE);
	SAY(map(0, 2 * MIB + PAGE, PRIVATE) == p - 2 * MIB - PAGE);
	p = map(0, PAGE, PRIVATE);
	SAY(map(0, 4 * MIB, SHARED) == p - 4 * MIB);
	p = map(0, PAGE, PRIVATE);
	SAY(map(p, 4 * MIB, PRIVATE) == p - 4 * MIB);
	p = map(0, 4 * MIB, PRIVATE);
	map(0, PAGE, PRIVATE);
	MUST(munmap, p, 4 * MIB);
	SAY(map(0, 4 * MIB, PRIVATE) == p);
	p = (u64)fresh(512);
	at((char *)p + 2 * MIB, 1, RW, PRIVATE, -1, 0);
	SAY(MUST(mremap, p, 2 * MIB, 4 * MIB, MREMAP_MAYMOVE) % (2 * MIB));
	return 0;
}
