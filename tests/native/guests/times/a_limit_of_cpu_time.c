/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_CPU: SIGXCPU at the soft limit, which then is a second more; the hard limit of 1 second kills. */
#include "native.h"

static void on_xcpu(int signo)
{
	struct rlimit limit;

	MUST(getrlimit, RLIMIT_CPU, &limit);
	print("%s, now the limits are %ld and %ld\n", signal_name(signo), limit.rlim_cur, limit.rlim_max);
	leave(7);
}

/* Makes the kernel work: that is CPU time too. */
static void work_for_ever(void)
{
	for (;;) {
		long memory = MUST(mmap, 0, 32 << 20, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		MUST(munmap, memory, 32 << 20);
	}
}

int main(void)
{
	struct rlimit one = { 1, 3 }, hard = { 1, 1 };

	long pid = MUST(fork);
	if (!pid) {
		handle(SIGXCPU, on_xcpu, 0);
		MUST(setrlimit, RLIMIT_CPU, &one);
		work_for_ever();
	}
	reap(pid);
	pid = MUST(fork);
	if (!pid) {
		MUST(setrlimit, RLIMIT_CPU, &hard);
		work_for_ever();
	}
	reap(pid);
	return 0;
}
