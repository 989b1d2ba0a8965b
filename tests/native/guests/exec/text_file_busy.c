/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* A file that is executed cannot be opened for writing, and one that is open for writing cannot be executed. */
#include "native.h"
#include "program.h"

static void run(char *path, char *word)
{
	char *argv[] = { path, word, NULL };
	long pid = MUST(fork);

	if (!pid) {
		print("%s: ", path);
		long result = SYS(execve, path, argv, NULL);
		print("%s\n", errno_name(-result));
		leave(0);
	}
	MUST(wait4, pid, NULL, 0, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1 && same(argv[1], "hold")) {
		SHOW(open, "/proc/self/exe", O_WRONLY);
		SHOW(open, "held", O_RDWR);
		SHOW(open, "held", O_RDONLY | O_TRUNC);
		SHOW(truncate, "held", 0);
		SHOW(chmod, "held", 0700);
		SHOW(rename, "held", "held again");
		SHOW(open, "held again", O_WRONLY | O_APPEND);
		int reading = DO(open, "held again", O_RDONLY);
		SHOW(ftruncate, reading, 0);
		SHOW(unlink, "held again");
		long pid = MUST(fork);
		if (!pid) {
			SHOW(open, "/proc/self/exe", O_WRONLY);
			leave(0);
		}
		reap(pid);
		return 0;
	}
	if (argc > 1) {
		print("runs\n");
		return 0;
	}
	copy("held", 0755);
	run("held", "hold");
	copy("other", 0755);
	int writing = MUST(open, "other", O_WRONLY);
	run("other", "x");
	MUST(close, writing);
	run("other", "x");
	writing = MUST(open, "other", O_RDWR);
	char *memory = (char *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, writing, 0);
	MUST(close, writing);
	run("other", "x");
	MUST(munmap, memory, PAGE);
	run("other", "x");
	put("script", "#!./other\n");
	MUST(chmod, "script", 0755);
	writing = MUST(open, "script", O_WRONLY);
	run("script", "x");
	MUST(close, writing);
	run("script", "x");
	writing = MUST(open, "other", O_WRONLY);
	run("script", "x");
	MUST(close, writing);
	SHOW(unlink, "script");
	SHOW(unlink, "other");
	int memfd = MUST(memfd_create, "program", 0);
	int from = MUST(open, "/proc/self/exe", O_RDONLY);
	MUST(sendfile, memfd, from, NULL, 1 << 20);
	char *words[] = { "memory", "x", NULL };
	SHOW(execveat, memfd, "", words, NULL, AT_EMPTY_PATH);
	return 1;
}
