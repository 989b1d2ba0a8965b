/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: root, proc */
/* Programs with the set-user-ID and set-group-ID bits, and who does not get the rights. */
#include "native.h"
#include "program.h"

static void run(const char *what, u32 uid, int no_new_privs, char *path)
{
	char *argv[] = { path, "x", NULL };
	print("%s: ", what);
	long pid = MUST(fork);

	if (!pid) {
		become(uid);
		MUST(personality, 0x0040000);
		if (no_new_privs)
			MUST(prctl, 38, 1, 0, 0, 0);
		print("%s\n", errno_name(-SYS(execve, path, argv, NULL)));
		leave(0);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

int main(int argc, char **argv, char **envp)
{
	(void)argv;
	if (argc > 1)
		return show_ids(envp);
	MUST(chmod, ".", 0755);
	copy("program", 0755);
	run("plain", 1000, 0, "./program");
	MUST(chown, "program", 2000, 3000);
	MUST(chmod, "program", 04755);
	run("set-user-ID", 1000, 0, "./program");
	run("set-user-ID, no new privileges", 1000, 1, "./program");
	run("set-user-ID of itself", 2000, 0, "./program");
	MUST(chmod, "program", 02755);
	run("set-group-ID", 1000, 0, "./program");
	MUST(chmod, "program", 02745);
	run("set-group-ID without x", 1000, 0, "./program");
	MUST(chmod, "program", 06755);
	run("both", 1000, 0, "./program");
	put("script", "#!./program\n");
	MUST(chmod, "script", 06755);
	run("script of root", 1000, 0, "./script");
	MUST(chmod, "program", 0711);
	run("only x", 1000, 0, "./program");
	MUST(chmod, "program", 0744);
	run("no x for others", 1000, 0, "./program");
	MUST(chown, "program", 0, 0);
	MUST(chmod, "program", 04711);
	run("root's", 1000, 0, "./program");
	return 0;
}
