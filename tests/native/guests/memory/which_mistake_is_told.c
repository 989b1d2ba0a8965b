/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls on ranges that are wrong in two ways. */
// needs: root
#include "native.h"
#include <sys/mman.h>

int main(void)
{
	void *high = (void *)(1L << 47), *top = (void *)-4096L, *low = (void *)0x10000;

	SHOW(mprotect, 0, -4096L, 0x10000);
	SHOW(mprotect, 0, -4096L, PROT_READ);
	SHOW(mprotect, top, 0x1001, 0x20040);
	SHOW(mprotect, top, 1, 0x20040);
	SHOW(mprotect, top, 0, 0x20040);
	SHOW(mprotect, 0, -1L, PROT_READ);
	SHOW(mprotect, 0, -1L, 0x10000);
	SHOW(mprotect, (void *)4096, -4096L, 0x10000);
	SHOW(mprotect, high, 4096, PROT_READ);
	SHOW(mincore, 0, 0, high);
	SHOW(mincore, 0, 0, top);
	SHOW(mincore, low, 8192, high);
	SHOW(mincore, low, 8192, NOWHERE);
	SHOW(mincore, high, 0, high);
	SHOW(mincore, high, 4096, NOWHERE);
	SHOW(madvise, low, 8192, MADV_HUGEPAGE);
	SHOW(madvise, low, 8192, MADV_NOHUGEPAGE);
	SHOW(madvise, low, 8192, MADV_DONTDUMP);
	SHOW(madvise, low, 8192, 25);
	SHOW(madvise, low, 8192, MADV_COLD);
	SHOW(madvise, low, 8192, 99);
	SHOW(madvise, top, 8192, MADV_COLD);
	struct rlimit few = {65536, 65536};
	MUST(setrlimit, RLIMIT_MEMLOCK, &few);
	SHOW(mlock, top, 1L << 40);
	SHOW(mlock, top, 8192);
	become(65534);
	SHOW(mlock, top, 1L << 40);
	SHOW(mlock, top, 8192);
	SHOW(mlock2, top, 1L << 40, 1);
	SHOW(munlock, top, 1L << 40);
	return 0;
}
