/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PTRACE_EVENT_FORK, VFORK, VFORK_DONE, CLONE, EXEC and EXIT; children are traced from their start. */
#include "native.h"
#include <linux/ptrace.h>

static int nothing(u64 argument UNUSED)
{
	return 0;
}

static void child(char **argv, char **envp)
{
	char *again[] = { argv[0], "again", NULL };
	volatile int tid;

	MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
	SYS(kill, SYS(getpid), SIGSTOP);
	long pid = SYS(fork);
	if (!pid)
		leave(3);
	SYS(wait4, pid, NULL, 0, NULL);
	pid = SYS(vfork);
	if (!pid)
		leave(4);
	SYS(wait4, pid, NULL, 0, NULL);
	thread(nothing, 0, &tid);
	join(&tid);
	SYS(execve, "/proc/self/exe", again, envp);
	leave(1);
}

/* Waits for one task and prints what it did. */
static int next(const char *who, long pid)
{
	int status;

	MUST(wait4, pid, &status, __WALL, NULL);
	if (WIFEXITED(status))
		print("%s: exit %d\n", who, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		print("%s: killed by %s\n", who, signal_name(WTERMSIG(status)));
	else
		print("%s: %s, event %d\n", who, signal_name(WSTOPSIG(status)), status >> 16);
	return status;
}

static long message(long pid)
{
	u64 value = 0;

	MUST(ptrace, PTRACE_GETEVENTMSG, pid, 0, &value);
	return value;
}

int main(int argc, char **argv, char **envp)
{
	if (argc > 1)
		leave(7);
	long pid = MUST(fork);
	if (!pid)
		child(argv, envp);
	next("parent", pid);
	SHOW(ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
	     PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT);
	for (int i = 0; i < 3; i++) {
		MUST(ptrace, PTRACE_CONT, pid, 0, 0);
		next("parent", pid);
		long new = message(pid);
		next("child", new);
		SHOW(ptrace, PTRACE_CONT, new, 0, 0);
		next("child", new);
		print("  status %lx\n", message(new));
		SHOW(ptrace, PTRACE_CONT, new, 0, 0);
		if (i == 0)
			MUST(ptrace, PTRACE_CONT, pid, 0, 0);
		next("child", new);
		if (i == 2) /* a thread that is not waited for takes the status of its group */
			MUST(ptrace, PTRACE_CONT, pid, 0, 0);
		if (i == 1) {
			MUST(ptrace, PTRACE_CONT, pid, 0, 0);
			next("parent", pid);
			SAY(message(pid) == new);
			MUST(ptrace, PTRACE_CONT, pid, 0, 0);
		}
		if (i != 2) { /* SIGCHLD */
			next("parent", pid);
		}
	}
	next("parent", pid);
	SAY(message(pid) == pid);
	MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	next("parent", pid);
	print("  status %lx\n", message(pid));
	SHOW(ptrace, PTRACE_DETACH, pid, 0, 0);
	next("parent", pid);
	return 0;
}
