/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* What a #! line makes of a script's arguments, and which lines are none. */
#include "native.h"
#include "program.h"

static void put_bytes(const char *path, const char *text, u64 size)
{
	int fd = MUST(open, path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	MUST(write, fd, text, size);
	MUST(close, fd);
}

static void run(const char *what, const char *path, char **argv)
{
	print("%s: ", what);
	long pid = MUST(fork);

	if (!pid) {
		long result = SYS(execve, path, argv, NULL);
		print("%s\n", errno_name(-result));
		leave(0);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

static void script(const char *text, u64 size)
{
	char *argv[] = { "zeroth", "first", "second", NULL };

	put_bytes("script", text, size);
	run("script", "script", argv);
}

#define SCRIPT(text) script(text, sizeof(text) - 1)

int main(int argc, char **argv)
{
	static char long_line[600];
	char *none[] = { NULL };

	if (argc > 1 || same(argv[0], "./echo")) {
		for (int i = 0; i < argc; i++)
			print("[%s]", argv[i]);
		print("\n");
		return 0;
	}
	copy("echo", 0755);
	SCRIPT("#!./echo\n");
	SCRIPT("#!./echo");
	SCRIPT("#! \t./echo\t one two  three \t\nrest");
	SCRIPT("#!./echo -x");
	SCRIPT("#!echo\n");
	SCRIPT("#!./missing\n");
	SCRIPT("#!./script\n");
	SCRIPT("#!\n");
	SCRIPT("#!   \n");
	SCRIPT("#!");
	SCRIPT("#! ");
	SCRIPT("#!./echo\0hidden arg\n");
	SCRIPT("#!./echo arg\0hidden\n");
	SCRIPT("#!./echo arg\r\n");
	SCRIPT("# !./echo\n");
	SCRIPT("");
	SCRIPT("#");
	SCRIPT("#!/proc/self\n");
	SCRIPT("#!.\n");
	for (int size = 253; size < 260; size++) {
		memset(long_line, '/', sizeof(long_line));
		memcpy(long_line, "#!./", 4);
		memcpy(long_line + size - 5, "/echo", 5);
		print("%d ", size);
		script(long_line, size);
		long_line[size] = '\n';
		print("%d and a newline ", size);
		script(long_line, size + 1);
	}
	memset(long_line, 'a', sizeof(long_line));
	memcpy(long_line, "#!./echo ", 9);
	script(long_line, 300);
	memset(long_line, ' ', sizeof(long_line));
	memcpy(long_line, "#!", 2);
	script(long_line, 300);
	put_bytes("s1", "#!./echo 1\n", 11);
	for (int level = 2; level < 8; level++) {
		char text[] = "#!./s1 2\n", name[] = "s2", path[] = "./s2";
		text[5] = '0' + level - 1, text[7] = name[1] = path[3] = '0' + level;
		put_bytes(name, text, 9);
		char *arguments[] = { name, "end", NULL };
		run(name, path, arguments);
	}
	run("no arguments", "s1", none);
	run("no pointer", "s1", NULL);
	SHOW(chmod, "echo", 0644);
	run("interpreter without x", "s1", none);
	SHOW(chmod, "s1", 0644);
	run("script without x", "s1", none);
	return 0;
}
