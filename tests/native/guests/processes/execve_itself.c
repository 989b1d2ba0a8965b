/* SPDX-License-Identifier: GPL-2.0-or-later */
/* execve(2) of /proc/self/exe: arguments, environment, what is closed. */
// needs: proc
#include "native.h"

static char *args[4] = { "again", "one", "", NULL }, *env[2] = { "A=b", NULL };
static int run(int argc, char **argv, char **envp)
{
	if (!same(argv[0], "again")) {
		MUST(dup2, 1, 10);
		MUST(dup3, 1, 11, O_CLOEXEC);
		handle(SIGUSR1, leave, 0);
		handle(SIGUSR2, SIG_IGN, 0);
		block_only(SIGNAL_BIT(SIGTERM));
		SYS(execve, "/proc/self/exe", args, env);
		return 1;
	}
	for (int i = 0; i < argc; i++)
		print("%d: %s\n", i, argv[i]);
	for (; *envp; envp++)
		print("%s\n", *envp);
	struct kernel_sigaction a = { 0 }, b = { 0 };
	u64 mask = 0;

	MUST(rt_sigaction, SIGUSR1, NULL, &a, 8);
	MUST(rt_sigaction, SIGUSR2, NULL, &b, 8);
	MUST(rt_sigprocmask, 0, NULL, &mask, 8);
	print("%ld %ld %lx\n", (long)a.handler, (long)b.handler, mask);
	SHOW(fcntl, 10, F_GETFD);
	SHOW(fcntl, 11, F_GETFD);
	return 3;
}
#define main(x) main(int argc, char **argv, char **envp)

int main(void)
{
	return run(argc, argv, envp);
	return 0;
}
