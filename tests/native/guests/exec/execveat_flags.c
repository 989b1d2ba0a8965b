/* SPDX-License-Identifier: GPL-2.0-or-later */
/* since: 6.14 */
/* needs: proc */
/* execveat(2): by descriptor, by name, scripts, links, and the question whether a file could be executed. */
#include "native.h"
#include "program.h"

#define CHECK 0x10000

static void run(const char *what, int fd, const char *name, int flags)
{
	char *argv[] = { "self", "x", NULL };
	print("%s: ", what);
	long pid = MUST(fork);

	if (!pid) {
		long result = SYS(execveat, fd, name, argv, NULL, flags);
		print("%s\n", result_name(result));
		leave(0);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

static void open_as(int fd, const char *name, int flags)
{
	int opened = MUST(open, name, flags);

	MUST(dup2, opened, fd);
	MUST(close, opened);
}

/* The name that AT_EXECFN gives, and the command's. */
static int tell(int argc, char **argv, char **envp)
{
	char comm[17] = { 0 };

	while (*envp++)
		;
	u64 *aux = (u64 *)envp;
	while (*aux != 31)
		aux += 2;
	MUST(prctl, 16, comm);
	print("%s called %s:", comm, (char *)aux[1]);
	for (int i = 0; i < argc; i++)
		print(" %s", argv[i]);
	print("\n");
	return 0;
}

int main(int argc, char **argv, char **envp)
{
	if (argc > 1)
		return tell(argc, argv, envp);
	MUST(mkdir, "dir", 0755);
	copy("dir/program", 0755);
	put("dir/text", "just words, and more of them\n");
	put("dir/script", "#!./dir/program arg\n");
	MUST(chmod, "dir/script", 0755);
	MUST(symlink, "program", "dir/link");
	open_as(30, "dir", O_RDONLY | O_DIRECTORY);
	open_as(31, "dir/program", O_RDONLY);
	open_as(32, "dir/script", O_RDONLY);
	open_as(33, "dir/program", 010000000);
	MUST(dup3, 31, 34, O_CLOEXEC);
	MUST(dup3, 32, 35, O_CLOEXEC);
	MUST(dup3, 30, 36, O_CLOEXEC);
	run("name", AT_FDCWD, "dir/program", 0);
	run("name below", 30, "program", 0);
	run("link", 30, "link", 0);
	run("link itself", 30, "link", AT_SYMLINK_NOFOLLOW);
	run("descriptor", 31, "", AT_EMPTY_PATH);
	run("descriptor without the flag", 31, "", 0);
	run("O_PATH", 33, "", AT_EMPTY_PATH);
	run("closed by it", 34, "", AT_EMPTY_PATH);
	run("directory", 30, "", AT_EMPTY_PATH);
	run("working directory", AT_FDCWD, "", AT_EMPTY_PATH);
	run("name below no directory", 31, "program", 0);
	run("no descriptor", 77, "program", 0);
	run("no descriptor itself", 77, "", AT_EMPTY_PATH);
	run("missing", 30, "missing", 0);
	run("script closed by it", 35, "", AT_EMPTY_PATH);
	run("script below what is closed by it", 36, "script", 0);
	run("no program", 30, "text", 0);
	run("unknown flags", 30, "program", AT_SYMLINK_FOLLOW);
	run("bad name", 30, NOWHERE, 0);
	run("check", 30, "program", CHECK);
	run("check a script", 32, "", CHECK | AT_EMPTY_PATH);
	run("check no program", 30, "text", CHECK);
	MUST(chmod, "dir/text", 0755);
	run("check a text", 30, "text", CHECK);
	run("a text", 30, "text", 0);
	run("check a missing one", 30, "missing", CHECK);
	print("check arguments: %s\n", result_name(SYS(execveat, 30, "program", NOWHERE, NULL, CHECK)));
	print("no arguments: %s\n", result_name(SYS(execveat, 30, "program", NOWHERE, NULL, 0)));
	return 0;
}
