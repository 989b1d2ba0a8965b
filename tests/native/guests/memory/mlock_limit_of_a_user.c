/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_MEMLOCK holds for users, not for root. */
// needs: root
#include "native.h"

int main(void)
{
	struct rlimit limit = { 2 * PAGE, 2 * PAGE };
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	MUST(setrlimit, RLIMIT_MEMLOCK, &limit);
	SHOW(mlock, p, 4 * PAGE);
	SHOW(munlock, p, 4 * PAGE);
	become(1000);
	SHOW(mlock, p, 2 * PAGE);
	SHOW(mlock, p + 2 * PAGE, PAGE);
	SHOW(mlock, p, 2 * PAGE);
	SHOW(mlock, p + 1, PAGE);
	SHOW(mlockall, MCL_CURRENT);
	SHOW(mlockall, 8);
	SHOW(mmap, 0, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	SHOW(munlock, p, 2 * PAGE);
	limit.rlim_cur = limit.rlim_max = 0;
	MUST(setrlimit, RLIMIT_MEMLOCK, &limit);
	SHOW(mlock, p, PAGE);
	SHOW(mlock2, p, PAGE, 0);
	SHOW(mlockall, MCL_FUTURE);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	return 0;
}
