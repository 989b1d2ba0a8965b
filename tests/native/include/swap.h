/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Swap areas in /var/tmp, which is on a disk where a guest with "needs: swap"
 * runs: one guest at a time, since all see the same areas.
 */
#ifndef SWAP_H
#define SWAP_H

#include <sys/file.h>

#include "mappings.h"

#define PREFER 0x8000

static u64 swap_page[512];

/* A file of so many pages with the header that mkswap writes, which says so many. */
UNUSED static void make_area(const char *name, int pages, int last)
{
	static u64 zeros[512];
	int fd = MUST(open, name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	memset(swap_page, 0, PAGE);
	swap_page[128] = 1 | (u64)last << 32;
	memcpy((char *)swap_page + PAGE - 10, "SWAPSPACE2", 10);
	for (int i = 0; i < pages; i++)
		MUST(write, fd, i ? zeros : swap_page, PAGE);
	MUST(close, fd);
}

/* To be called first; what another guest has left behind goes. */
UNUSED static void swap_begin(void)
{
	int fd = MUST(open, "/var/tmp/.unimmu-swap", O_RDWR | O_CREAT, 0600);

	MUST(flock, fd, LOCK_EX);
	SYS(mkdir, "/var/tmp/unimmu-swap", 0700);
	MUST(chdir, "/var/tmp/unimmu-swap");
	for (int i = 0; i < 3; i++) {
		const char *name = i == 0 ? "a" : i == 1 ? "b" : "c d";

		SYS(swapoff, name);
		SYS(unlink, name);
	}
}

/* To be called last. */
UNUSED static void swap_end(void)
{
	const char *names[] = { "a", "b", "c d", "s", "h", "y" };

	for (u64 i = 0; i < COUNT(names); i++) {
		SYS(swapoff, names[i]);
		SYS(unlink, names[i]);
	}
	MUST(chdir, "/");
	MUST(rmdir, "/var/tmp/unimmu-swap");
	SYS(unlink, "/var/tmp/.unimmu-swap");
}

/* The number after a word at the beginning of a line of a file of /proc. */
UNUSED static long number_of(const char *path, const char *word)
{
	read_all(path);
	for (char *c = native_maps; *c; c++) {
		if ((c == native_maps || c[-1] == '\n') && !memcmp(c, word, strlen(word))) {
			long number = 0;

			for (c += strlen(word); *c == ' ' || *c == ':' || *c == '\t'; c++)
				;
			for (; *c >= '0' && *c <= '9'; c++)
				number = number * 10 + *c - '0';
			return number;
		}
	}
	return -1;
}

/* /proc/swaps, without the directories. */
UNUSED static void show_swaps(void)
{
	char *start = native_maps;

	read_all("/proc/swaps");
	for (char *c = native_maps; *c; c++)
		if (*c == '/')
			start = c;
		else if (*c == '\n') {
			*c = 0;
			print("%s\n", start);
			start = c + 1;
		}
	print("total %d, free %d\n", (int)number_of("/proc/meminfo", "SwapTotal"),
	      (int)number_of("/proc/meminfo", "SwapFree"));
}

#endif
