/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mremap(2) of a range in which several mappings and holes lie. */
// since: 6.17
#include "native.h"

static char *area;
static void make(void)
{
	MUST(munmap, area, 64 * PAGE);
	MUST(mmap, area, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MUST(mmap, area + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MUST(mmap, area + 6 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MUST(mprotect, area + 7 * PAGE, PAGE, PROT_READ);
	area[0] = 1, area[PAGE] = 2, area[2 * PAGE] = 3, area[3 * PAGE] = 4, area[6 * PAGE] = 5;
}
static void tell(const char *what, long result)
{
	u8 v[1];

	print("%s: %s %ld:", what, result_name(result), failed(result) ? 0 : (result - (long)area) / (long)PAGE);
	for (int i = 0; i < 64; i++)
		if (SYS(mincore, area + i * PAGE, PAGE, v) == 0)
			print(" %d=%d", i, area[i * PAGE]);
	print("\n");
}
#define TRY(old, from, to, flags, new)														\
	(make(), tell(#old " " #from " " #to " " #flags " " #new,								 \
				  SYS(mremap, area + (old) * PAGE, (from) * PAGE, (to) * PAGE, flags, area + (new) * PAGE)))

int main(void)
{
	area = (void *)MUST(mmap, 0, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TRY(0, 3, 3, 0, 0);
	TRY(0, 4, 4, 1, 0);
	TRY(0, 9, 9, 0, 0);
	TRY(0, 4, 1, 0, 0);
	TRY(0, 8, 3, 0, 0);
	TRY(0, 4, 1, 3, 32);
	TRY(0, 4, 3, 3, 32);
	TRY(0, 8, 7, 3, 32);
	TRY(0, 3, 4, 1, 0);
	TRY(0, 3, 4, 3, 32);
	TRY(0, 4, 4, 3, 32);
	TRY(1, 2, 2, 3, 32);
	TRY(0, 8, 8, 3, 32);
	TRY(0, 12, 12, 3, 32);
	TRY(5, 3, 3, 3, 32);
	TRY(0, 4, 4, 5, 0);
	TRY(0, 4, 4, 7, 32);
	TRY(0, 8, 8, 7, 32);
	TRY(4, 2, 2, 3, 32);
	TRY(4, 1, 1, 0, 32);
	TRY(1, 1, 2, 0, 32);
	return 0;
}
