/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ru_maxrss: it stays when memory goes, a child's is its parent's once it is waited for, and exec keeps it. */
#include "native.h"

static long maxrss_mib(int who)
{
	struct rusage usage;

	MUST(getrusage, who, &usage);
	return usage.ru_maxrss >> 10;
}

static void touch(u64 size)
{
	char *memory = anonymous(size, MAP_PRIVATE);

	SYS(madvise, memory, size, MADV_NOHUGEPAGE);
	for (u64 at = 0; at < size; at += PAGE)
		memory[at] = 1;
	MUST(munmap, memory, size);
}

int main(int argc, char **argv, char **envp)
{
	struct rusage usage;
	int status;

	if (argc > 1) {
		SAY(maxrss_mib(RUSAGE_SELF) >= 15);
		return 0;
	}
	SAY(maxrss_mib(RUSAGE_CHILDREN));
	touch(16 << 20);
	SAY(maxrss_mib(RUSAGE_SELF) >= 15);
	SAY(maxrss_mib(RUSAGE_THREAD) >= 15);
	long pid = MUST(fork);
	if (!pid) {
		touch(32 << 20);
		leave(0);
	}
	MUST(wait4, pid, &status, 0, &usage);
	SAY(usage.ru_maxrss >> 10 >= 31);
	SAY(maxrss_mib(RUSAGE_CHILDREN) >= 31);
	SHOW(getrusage, 2, &usage);
	SHOW(getrusage, -2, &usage);
	SHOW(getrusage, RUSAGE_SELF, NOWHERE);
	char *again[] = { argv[0], "again", NULL };
	SHOW(execve, argv[0], again, envp);
	return 1;
}
