/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_CPU: SIGXCPU at the soft limit, which then is a second more; a hard limit that is reached kills. */
#include "native.h"

#define SIZE (32UL << 20)

/* Makes the kernel work: that is CPU time too. */
static void work_for_ever(void)
{
	long memory = MUST(mmap, 0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	for (;;) {
		MUST(mprotect, memory, SIZE, PROT_READ);
		MUST(mprotect, memory, SIZE, PROT_READ | PROT_WRITE);
	}
}

static void on_xcpu(int signo)
{
	struct rlimit limit, hard = { 1, 1 };

	MUST(getrlimit, RLIMIT_CPU, &limit);
	print("%s, now the limits are %ld and %ld\n", signal_name(signo), limit.rlim_cur, limit.rlim_max);
	MUST(setrlimit, RLIMIT_CPU, &hard);
	work_for_ever();
}

int main(void)
{
	struct rlimit one = { 1, 3 };
	long pid = MUST(fork);

	if (!pid) {
		handle(SIGXCPU, on_xcpu, 0);
		MUST(setrlimit, RLIMIT_CPU, &one);
		work_for_ever();
	}
	reap(pid);
	return 0;
}
