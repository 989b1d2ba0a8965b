/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* execve(2) without arguments gives one empty one, and what it refuses. */
#include "native.h"

static void run(const char *what, const void *path, const void *argv, const void *envp)
{
	print("%s: ", what);
	long pid = MUST(fork);

	if (!pid) {
		print("%s\n", errno_name(-SYS(execve, path, argv, envp)));
		leave(0);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

int main(int argc, char **argv, char **envp)
{
	char *none[] = { NULL }, *mark[] = { "MARK=1", NULL }, *bad[] = { "x", NOWHERE, NULL };

	if (*envp && same(*envp, "MARK=1")) {
		print("argc %d, argv[0] \"%s\", argv[1] %s\n", argc, argv[0], argv[1] ? "there" : "NULL");
		return 0;
	}
	run("NULL", "/proc/self/exe", NULL, mark);
	run("an empty array", "/proc/self/exe", none, mark);
	run("bad array", "/proc/self/exe", NOWHERE, mark);
	run("bad string", "/proc/self/exe", bad, mark);
	run("bad environment", "/proc/self/exe", none, NOWHERE);
	run("bad name", NOWHERE, none, mark);
	run("empty name", "", none, mark);
	run("missing, bad array", "missing", NOWHERE, mark);
	run("directory", ".", none, mark);
	put("text", "words\n");
	run("not executable", "text", none, mark);
	MUST(chmod, "text", 0100);
	run("not a program", "text", none, mark);
	run("below a file", "text/x", none, mark);
	MUST(symlink, "loop", "loop");
	run("loop", "loop", none, mark);
	MUST(mknod, "fifo", S_IFIFO | 0755, 0);
	run("fifo", "fifo", none, mark);
	put("short", "\177ELF");
	MUST(chmod, "short", 0755);
	run("short", "short", none, mark);
	run("/dev/null", "/dev/null", none, mark);
	return 0;
}
