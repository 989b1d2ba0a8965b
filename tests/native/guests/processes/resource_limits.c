/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getrlimit(2), setrlimit(2), prlimit64(2): values and rights. */
// needs: root
#include "native.h"

int main(void)
{
	struct rlimit limit = { 100, 200 }, got;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	SHOW(getrlimit, RLIMIT_NOFILE, &got);
	print("%ld %ld\n", (long)got.rlim_cur, (long)got.rlim_max);
	limit.rlim_cur = 201;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	SHOW(setrlimit, 16, &limit);
	SHOW(setrlimit, 16, NOWHERE);
	SHOW(setrlimit, RLIMIT_NOFILE, NOWHERE);
	SHOW(getrlimit, 16, &got);
	SHOW(getrlimit, RLIMIT_NOFILE, NOWHERE);
	SHOW(prlimit64, 0, RLIMIT_NOFILE, NULL, &got);
	SHOW(prlimit64, 1 << 30, RLIMIT_NOFILE, NULL, &got);
	SHOW(prlimit64, 0, 16, NULL, &got);
	SHOW(prlimit64, 0, RLIMIT_NOFILE, NULL, NOWHERE);
	SHOW(prlimit64, 0, RLIMIT_NOFILE, NOWHERE, NULL);
	limit.rlim_cur = 50, limit.rlim_max = 1UL << 40;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	limit.rlim_max = 60;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	long pid = MUST(fork);
	if (pid) {
		reap(pid);
		return 0;
	}
	become(1000);
	SHOW(prlimit64, SYS(getppid), RLIMIT_NOFILE, NULL, &got);
	limit.rlim_max = 61;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max = 40;
	SHOW(setrlimit, RLIMIT_NOFILE, &limit);
	SHOW(getrlimit, RLIMIT_NOFILE, &got);
	return 0;
}
