/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: programs need EXECUTE and READ_FILE, and keep the sandbox. */
// since: 6.18
#include "native.h"
#include "program.h"
#include "landlock.h"

static void run(const char *path)
{
	char *words[] = { "again", "x", NULL };
	long child = MUST(fork);
	if (!child) {
		long result = SYS(execve, path, words, NULL);
		print("%s: %s\n", path, result_name(result));
		leave(1);
	}
	MUST(wait4, child, NULL, 0, 0);
}

int main(int argc, char **argv UNUSED)
{
	if (argc > 1) {
		print("runs; another: %s\n", result_name(SYS(open, "none/again", O_RDONLY)));
		return 0;
	}
	const char *names[] = { "none", "executes", "reads", "both" };
	for (u32 n = 0; n < COUNT(names); n++) {
		MUST(mkdir, names[n], 0755);
		MUST(chdir, names[n]);
		copy("again", 0755);
		MUST(chdir, "..");
	}
	int set = ruleset(EXECUTE | READ_FILE, 0, 0);
	allow(set, "executes", EXECUTE);
	allow(set, "reads", READ_FILE);
	allow(set, "both", READ_FILE | EXECUTE);
	restrict_self(set);
	run("none/again");
	run("executes/again");
	run("reads/again");
	run("both/again");
	return 0;
}
