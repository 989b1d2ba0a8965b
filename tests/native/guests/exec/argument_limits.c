/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* How long and how many arguments may be: 128 KiB each, a quarter of the stack together, 6 MiB at most. */
#include "native.h"

static char *argv_of[1 << 19];

static void run(const char *what, int strings, u64 size)
{
	char *text = anonymous(size + 1, MAP_PRIVATE);
	int status;

	memset(text, 'a', size);
	for (int i = 0; i < strings; i++)
		argv_of[i] = text;
	argv_of[strings] = NULL;
	long pid = MUST(fork);
	if (!pid)
		leave(-SYS(execve, "/proc/self/exe", argv_of, NULL));
	MUST(wait4, pid, &status, 0, NULL);
	print("%s: %s\n", what, WEXITSTATUS(status) == 77 ? "runs" : errno_name(WEXITSTATUS(status)));
	MUST(munmap, text, size + 1);
}

static void stack(u64 size)
{
	struct rlimit limit = { size, RLIM_INFINITY };

	MUST(setrlimit, RLIMIT_STACK, &limit);
}

int main(int argc, char **argv)
{
	if (argc > 1 || argv[0][0] == 'a')
		return 77;
	stack(8 << 20);
	run("one of 128 KiB less one", 1, (128 << 10) - 1);
	run("one of 128 KiB", 1, 128 << 10);
	run("15 of 128 KiB", 15, (128 << 10) - 1);
	run("16 of 128 KiB", 16, (128 << 10) - 1);
	run("many short ones", 209000, 1);
	run("too many short ones", 210000, 1);
	stack(64 << 20);
	run("47 of 128 KiB", 47, (128 << 10) - 1);
	run("48 of 128 KiB", 48, (128 << 10) - 1);
	stack(256 << 10);
	run("100 KiB, small stack", 1, 100 << 10);
	run("two of 70 KiB, small stack", 2, 70 << 10);
	return 0;
}
