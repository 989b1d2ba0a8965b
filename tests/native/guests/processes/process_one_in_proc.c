/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: root, proc */
/* The directory of process 1, as another user finds it. */
#include "native.h"

#define NOBODY 65534

static char text[4096];

static const char *line_of(const char *name)
{
	int fd = MUST(open, "/proc/1/status", O_RDONLY);
	long size = MUST(read, fd, text, sizeof(text) - 1), length = 0;
	text[size] = 0;
	MUST(close, fd);
	while (name[length])
		length++;
	for (char *at = text; *at; at++) {
		long i = 0;
		while (i < length && at[i] == name[i])
			i++;
		if (i == length && (at == text || at[-1] == '\n')) {
			for (char *end = at; *end; end++)
				if (*end == '\n')
					*end = 0;
			return at;
		}
	}
	return "none";
}

int main(void)
{
	struct stat status;

	MUST(setresgid, NOBODY, NOBODY, NOBODY);
	MUST(setresuid, NOBODY, NOBODY, NOBODY);
	print("%s\n", line_of("Tgid:"));
	print("%s\n", line_of("Pid:"));
	print("%s\n", line_of("PPid:"));
	print("%s\n", line_of("Kthread:"));
	SHOW(stat, "/proc/1", &status);
	SAY(status.st_mode);
	SAY(status.st_uid);
	int fd = MUST(open, "/proc/1/stat", O_RDONLY);
	MUST(read, fd, text, 3);
	text[3] = 0;
	print("%s\n", text);
	SHOW(access, "/proc/1/task/1/comm", R_OK);
	SHOW(access, "/proc/1/task/2", F_OK);
	SHOW(access, "/proc/1/environ", R_OK);
	SHOW(open, "/proc/1/fd", O_RDONLY | O_DIRECTORY);
	SHOW(open, "/proc/1/mem", O_RDWR);
	SHOW(open, "/proc/1/maps", O_RDONLY);
	SHOW(open, "/proc/1/ns/pid", O_RDONLY);
	SHOW(readlink, "/proc/1/ns/pid", text, sizeof(text));
	SHOW(readlink, "/proc/1/exe", text, sizeof(text));
	SHOW(readlink, "/proc/1/root", text, sizeof(text));
	SHOW(readlink, "/proc/1/cwd", text, sizeof(text));
	SHOW(kill, 1, 0);
	return 0;
}
