/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_AS: ENOMEM of mmap, mremap and brk. */
#include "native.h"

int main(void)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };
	char *p = anonymous(PAGE, MAP_PRIVATE), *end = (void *)SYS(brk, 0);
	MUST(setrlimit, RLIMIT_AS, &limit);
	SHOW(mmap, 0, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SHOW(mremap, p, PAGE, 2 << 20, MREMAP_MAYMOVE);
	SAY(SYS(brk, end + (2 << 20)) == (long)end);
	DO(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 0;
}
