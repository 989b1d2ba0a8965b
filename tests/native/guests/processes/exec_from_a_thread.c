/* SPDX-License-Identifier: GPL-2.0-or-later */
/* execve(2) in a thread: the others end, and it becomes the first. */
// needs: proc
#include "native.h"

static char *args[2] = { "second", NULL };
static int body(u64 unused)
{
	(void)unused;
	MUST(execve, "/proc/self/exe", args, NULL);
	return 1;
}
static int run(int argc, char **argv, char **envp)
{
	volatile int tid;

	(void)argc, (void)envp;
	if (same(argv[0], "second")) {
		print("%d\n", SYS(getpid) == SYS(gettid));
		return 6;
	}
	thread(body, 0, &tid);
	for (;;)
		SYS(pause);
}
#define main(x) main(int argc, char **argv, char **envp)

int main(void)
{
	return run(argc, argv, envp);
	return 0;
}
