/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups of version 2: a group of the guest's own, wherever the hierarchy is mounted. */
#ifndef CGROUPS_H
#define CGROUPS_H

#include "native.h"
#include <sys/vfs.h>

#define CGROUP2_MAGIC 0x63677270

/* Make a group for this guest, and stand in it: its files are "cgroup.procs" and so on. */
UNUSED static void enter_own_group(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;
	char name[16] = "unimmu-test-";

	for (u32 i = 0; i < COUNT(places); i++)
		if (!SYS(statfs, places[i], &fs) && fs.f_type == CGROUP2_MAGIC)
			MUST(chdir, places[i]);
	for (name[12] = 'a'; name[12] < 'z' && SYS(mkdir, name, 0755) < 0; name[12]++)
		;
	MUST(chdir, name);
}

/* Remove it. */
UNUSED static void remove_own_group(void)
{
	char name[256] = "../", link[256];
	long n = MUST(getcwd, link, sizeof(link));
	u32 slash = 0;

	for (long i = 0; i < n; i++)
		if (link[i] == '/')
			slash = i;
	memcpy(name + 3, link + slash + 1, n - slash - 1);
	SHOW(rmdir, name);
}

/* What write(2) of a text gives. */
UNUSED static long put_in(const char *path, const char *text)
{
	int fd = SYS(open, path, O_WRONLY);
	long result;

	if (fd < 0)
		return fd;
	result = SYS(write, fd, text, strlen(text));
	SYS(close, fd);
	return result;
}

#define PUT(path, text) show(path " < '" text "'", put_in(path, text))

UNUSED static char *decimal(long number)
{
	static char text[24];
	char *at = text + sizeof(text) - 1;

	do
		*--at = '0' + number % 10;
	while (number /= 10);
	return at;
}

/* A process goes into a group: write its number. */
#define MOVE(path, pid) show_if_ok(path " < " #pid, put_in(path, decimal(pid)))

/* Prints a file, or why it cannot be read. */
UNUSED static void see(const char *path)
{
	char text[513];
	long n, fd = SYS(open, path, O_RDONLY);

	if (!failed(fd)) {
		n = SYS(read, fd, text, sizeof(text) - 1);
		SYS(close, fd);
		fd = n;
	}
	if (failed(fd)) {
		print("%s: %s\n", path, result_name(fd));
		return;
	}
	text[fd] = 0;
	print("%s: %s%s", path, text, fd && text[fd - 1] == '\n' ? "" : "\n");
}

/* How many numbers a file has, and whether a process is one of them. */
UNUSED static void see_numbers(const char *path, long pid)
{
	char text[513];
	int fd = MUST(open, path, O_RDONLY);
	long n = MUST(read, fd, text, sizeof(text)), value = 0, lines = 0, found = 0;

	for (long i = 0; i < n; i++) {
		if (text[i] != '\n') {
			value = value * 10 + text[i] - '0';
			continue;
		}
		found += value == pid;
		lines++, value = 0;
	}
	print("%s: %ld, %s\n", path, lines, found ? "it is there" : "it is not there");
	MUST(close, fd);
}

/* A child that sleeps until it is killed. */
UNUSED static long sleeper(void)
{
	long pid = MUST(fork);

	if (!pid)
		for (;;)
			sleep_ms(1000);
	return pid;
}

#endif
