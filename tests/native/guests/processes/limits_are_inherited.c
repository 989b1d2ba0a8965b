/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resource limits, umask, nice value, working directory and mask over fork(2). */
#include "native.h"

int main(void)
{
	struct rlimit limit = { 77, 88 }, got;
	u64 mask = 0;
	char text[64];
	MUST(mkdir, "dir", 0755);
	MUST(chdir, "dir");
	MUST(setrlimit, RLIMIT_NOFILE, &limit);
	MUST(umask, 031);
	MUST(setpriority, PRIO_PROCESS, 0, 4);
	block_only(SIGNAL_BIT(SIGTERM));
	long pid = MUST(fork);
	if (!pid) {
		MUST(getrlimit, RLIMIT_NOFILE, &got);
		print("%ld %ld\n", (long)got.rlim_cur, (long)got.rlim_max);
		SHOW(umask, 0);
		SHOW(getpriority, PRIO_PROCESS, 0);
		MUST(rt_sigprocmask, 0, NULL, &mask, 8);
		print("%lx\n", mask);
		long n = MUST(getcwd, text, 64);
		print("%s\n", text + n - 5);
		MUST(chdir, "..");
		leave(0);
	}
	reap(pid);
	SHOW(access, "../dir", F_OK);
	SHOW(umask, 0);
	return 0;
}
