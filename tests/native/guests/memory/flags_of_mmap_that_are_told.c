/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
/* mmap(2) with MAP_SHARED_VALIDATE: each flag of a mapping of a file, and of pkey_mprotect(2) what comes first. */
#include "mappings.h"

int main(void)
{
	int file = file_of(1);
	char *p = fresh(1);

	for (int bit = 6; bit < 31; bit++) {
		u64 flag = 1UL << bit;
		long result = SYS(mmap, flag == MAP_FIXED_NOREPLACE ? area() : 0, PAGE, RW, MAP_SHARED_VALIDATE | flag, file, 0);

		if (flag != 1UL << 21)
			print("%lx: %s\n", flag, result_name(result));
	}
	SHOW(pkey_mprotect, p, PAGE, PROT_READ, 0);
	SHOW(pkey_mprotect, p, PAGE, PROT_READ, 1);
	SHOW(pkey_mprotect, p, 0, PROT_READ, 1);
	SHOW(pkey_mprotect, p, -1UL, PROT_READ, 1);
	SHOW(pkey_mprotect, p + 1, PAGE, PROT_READ, 0);
	SHOW(pkey_mprotect, p, PAGE, PROT_READ, -1);
	return 0;
}
