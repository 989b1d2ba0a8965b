/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: root, proc */
/* Programs with the set-user-ID and set-group-ID bits, and who does not get the rights. */
#include "native.h"

/* A copy of this program. */
static void copy(const char *path, int mode)
{
	static char buffer[65536];
	int from = MUST(open, "/proc/self/exe", O_RDONLY), to = MUST(open, path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	long n = MUST(read, from, buffer, sizeof(buffer));

	MUST(write, to, buffer, n);
	MUST(close, from);
	MUST(close, to);
	MUST(chmod, path, mode);
}

static int tell(char **envp)
{
	u32 user[3], group[3];

	while (*envp++)
		;
	u64 *aux = (u64 *)envp;
	while (*aux != 23)
		aux += 2;
	MUST(getresuid, user, user + 1, user + 2);
	MUST(getresgid, group, group + 1, group + 2);
	print("users %u %u %u, groups %u %u %u, secure %ld, personality %lx\n", user[0], user[1], user[2], group[0], group[1],
	      group[2], aux[1], SYS(personality, -1) & 0x0040000 ? 1L : 0L);
	return 0;
}

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
		return tell(envp);
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
