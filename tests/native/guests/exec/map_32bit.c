/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAP_32BIT looks for room in the second GiB, from below; a hint may lie elsewhere below 2 GiB. */
#include "native.h"

#define MAP(hint, size) SYS(mmap, hint, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT | MAP_NORESERVE, -1, 0)

int main(void)
{
	u64 first = MAP(0, PAGE), second = MAP(0, PAGE);

	SAY(first >= 0x40000000 && first < 0x42000000);
	SAY(second >= 0x40000000 && second < 0x80000000);
	SAY(MAP(0x20000000, PAGE) == 0x20000000);
	SAY(MAP(0x20000000, PAGE) >= 0x40000000);
	SAY(MAP(0x90000000, PAGE) < 0x80000000);
	SAY(MAP(0, 0x41000000) == -ENOMEM);
	SAY(MAP(0, 0x20000000) < 0x80000000);
	SAY(MAP(0, 0x20000000) < 0x80000000);
	return 0;
}
