/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unimmu-mark begin|end|mark TEXT|run COMMAND [ARGUMENT...]: marks for a shell (`unimmu run --region marker`).
 *
 * The region of interest begins or ends, an event `mark` with a text is recorded, or a command is run within the
 * region, whose exit status is this one's (128 and the signal that ended it). Elsewhere than in the machine marks do
 * nothing: a script is the same there.
 */
#include "guest.h"
#include "unimmu.h"

#define PATH_SIZE 4096

static const char *path_of(char **envp)
{
	for (; *envp; envp++)
		if (starts_with(*envp, "PATH="))
			return *envp + 5;
	return "/usr/local/bin:/usr/bin:/bin";
}

/* As execvp(3), without its rule for scripts that have no #! line. */
static int execute(char **argv, char **envp)
{
	static char place[PATH_SIZE];
	const char *path = path_of(envp);
	size_t length = strlen(argv[0]);
	long result;

	for (const char *c = argv[0]; *c; c++)
		if (*c == '/') {
			result = sys_execve(argv[0], argv, envp);
			goto failed;
		}
	do {
		size_t end = 0;

		while (path[end] && path[end] != ':')
			end++;
		result = -ENOENT;
		if (end + length + 2 <= PATH_SIZE) {
			memcpy(place, path, end);
			place[end] = '/';
			memcpy(place + end + !!end, argv[0], length + 1);
			result = sys_execve(place, argv, envp);
		}
		path += end;
	} while (result == -ENOENT && *path++);
failed:
	complain("unimmu-mark: %s: %s\n", argv[0], result_name(result));
	return result == -ENOENT ? 127 : 126;
}

static int run(char **argv, char **envp)
{
	int status;
	long pid;

	UNIMMU_BEGIN();
	pid = must(sys_fork(), "fork");
	if (pid == 0)
		sys_exit_group(execute(argv, envp));
	must(sys_wait4(pid, &status, 0), "wait4");
	UNIMMU_END();
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

int main(int argc, char **argv, char **envp)
{
	if (argc == 2 && !strcmp(argv[1], "begin"))
		UNIMMU_BEGIN();
	else if (argc == 2 && !strcmp(argv[1], "end"))
		UNIMMU_END();
	else if (argc == 3 && !strcmp(argv[1], "mark"))
		UNIMMU_MARK(argv[2]);
	else if (argc > 2 && !strcmp(argv[1], "run"))
		return run(argv + 2, envp);
	else
		usage("unimmu-mark begin|end|mark TEXT|run COMMAND [ARGUMENT...]\n");
	return 0;
}
