/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program with the set-user-ID bit that somebody traces gets its owner's rights only if the tracer could give them. */
// needs: root, proc
#include "native.h"
#include "program.h"
#include <linux/ptrace.h>

static void run(const char *what, u32 tracer, u32 uid)
{
	char *argv[] = { "./program", "x", NULL };
	int status;

	print("%s: ", what);
	long pid = MUST(fork);
	if (pid) {
		MUST(wait4, pid, NULL, 0, NULL);
		return;
	}
	become(tracer);
	pid = MUST(fork);
	if (!pid) {
		if (uid != tracer)
			become(uid);
		MUST(personality, 0x0040000);
		MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		print("%s\n", errno_name(-SYS(execve, "./program", argv, NULL)));
		leave(0);
	}
	while (MUST(wait4, pid, &status, 0, NULL) == pid && WIFSTOPPED(status))
		MUST(ptrace, PTRACE_CONT, pid, 0, 0);
	leave(0);
}

/* A tracer that may give any rights, since it attaches itself. */
static void run_seized(void)
{
	char *argv[] = { "./program", "x", NULL };
	int fds[2], status;
	char go;

	print("seized by root: ");
	MUST(pipe2, fds, 0);
	long pid = MUST(fork);
	if (!pid) {
		become(1000);
		MUST(personality, 0x0040000);
		MUST(read, fds[0], &go, 1);
		SYS(execve, "./program", argv, NULL);
		leave(1);
	}
	MUST(ptrace, PTRACE_SEIZE, pid, 0, 0);
	MUST(write, fds[1], "g", 1);
	while (MUST(wait4, pid, &status, 0, NULL) == pid && WIFSTOPPED(status))
		MUST(ptrace, PTRACE_CONT, pid, 0, 0);
}

/* Somebody who shares the working directory could change it meanwhile. */
static void run_sharing(void)
{
	char *argv[] = { "./program", "x", NULL };

	print("with a shared working directory: ");
	long pid = MUST(clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		become(1000);
		MUST(personality, 0x0040000);
		SYS(execve, "./program", argv, NULL);
		leave(1);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

int main(int argc, char **argv, char **envp)
{
	(void)argv;
	if (argc > 1)
		return show_ids(envp);
	MUST(chmod, ".", 0755);
	copy("program", 0700);
	MUST(chown, "program", 2000, 3000);
	MUST(chmod, "program", 06755);
	run("traced by a user", 1000, 1000);
	run("traced by root", 0, 1000);
	run("of the owner's own", 2000, 2000);
	run_seized();
	run_sharing();
	return 0;
}
