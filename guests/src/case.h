/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the cases of tests/sharing/cases have in common: memory that processes
 * share, by whichever way the first argument names, at MSHARE_WINDOW.
 *
 *   plain    a file in the current directory, mapped MAP_SHARED: on any Linux host
 *   ptshare  the same with MAP_SHARED_PT (April 2023)
 *   file     a region file of the last two series (abi=v3, abi=y2)
 *   ioctl    a region file of September 2024 and January 2025 (abi=rfc3, y1)
 *   v2       a region file of June 2022, made by its first mmap
 *   v1       the calls mshare() and mshare_unlink() of April 2022
 *   g4       the calls on descriptors of 2026: no name, so case_open() and
 *            case_attach() are not for it
 */
#ifndef CASE_H
#define CASE_H

#include "mshare.h"

#define MAP_SHARED_PT 0x200000
#define NR_MARK 1000000 /* a call that no kernel has: a test may stop the process there */
#define RW (PROT_READ | PROT_WRITE)

static const char *way = "";

/* Takes the first argument; `by_name` says that the case looks the range up by its name. */
static inline void case_begin(int argc, char **argv, int by_name)
{
	static const char *const ways[] = { "plain", "ptshare", "file", "ioctl", "v2", "v1", "g4" };
	unsigned int number = sizeof(ways) / sizeof(*ways) - (by_name ? 1 : 0);

	for (unsigned int i = 0; argc > 1 && i < number; i++)
		if (!strcmp(argv[1], ways[i]))
			way = ways[i];
	if (!*way)
		usage(by_name ? "NAME plain|ptshare|file|ioctl|v2|v1" : "NAME plain|ptshare|file|ioctl|v2|v1|g4");
}

static inline int by(const char *name)
{
	return !strcmp(way, name);
}

static inline int by_plain_file(void)
{
	return by("plain") || by("ptshare");
}

static inline void mark(u64 n)
{
	syscall3(NR_MARK, n, 0, 0);
}

/* What the range is called in the file system. */
static inline const char *case_path(void)
{
	return by_plain_file() ? "unimmu-case" : MSHARE_ROOT "case";
}

/* The length of the range: what a single link covers, but 2 MiB in a plain file. */
static inline u64 case_size(void)
{
	if (by_plain_file())
		return 2UL << 20;
	return by("v1") ? (u64)must(number_in_file(MSHARE_SYSCTL), "read " MSHARE_SYSCTL) : mshare_unit();
}

static inline char *case_map(int fd)
{
	int flags = MAP_SHARED | MAP_FIXED | (by("ptshare") ? MAP_SHARED_PT : 0);
	long at = must(sys_mmap(MSHARE_WINDOW, case_size(), RW, flags, fd, 0), "mmap the range");

	sys_close(fd);
	return (char *)at;
}

/* Takes the name away; whoever has the range keeps it. The result of the last call. */
static inline long case_remove(void)
{
	long result;

	if (by("g4"))
		return 0;
	if (!by("v1"))
		return sys_unlink(case_path());
	result = sys_mshare_unlink("case");
	while (!is_error(result) && !is_error(sys_mshare_unlink("case")))
		; /* one for each mshare() */
	return result;
}

/* Opens the range by its name: a file descriptor, or -errno. */
static inline long case_open(void)
{
	return sys_open(case_path(), O_RDWR, 0);
}

/* Makes the range, of `size` usable bytes, and maps it into this process. */
static inline char *case_make(u64 size)
{
	u64 whole = case_size();
	int fd;

	if (by("v1")) {
		must(sys_mmap(MSHARE_WINDOW, whole, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0),
		     "mmap what becomes the region");
		must(sys_mshare("case", MSHARE_WINDOW, whole, O_RDWR | O_CREAT | O_EXCL, 0600), "mshare");
		return (char *)MSHARE_WINDOW;
	}
	if (by("g4")) {
		struct mshare_map_args object = { .size = size, .prot = RW, .fd = -1,
						  .flags = MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED };

		fd = must(sys_mshare_create(0), "mshare_create");
		must(sys_ftruncate(fd, whole), "ftruncate");
		must(sys_mshare_map(fd, &object, sizeof(object)), "mshare_map");
		return (char *)must(sys_mshare_attach(fd, 0, whole, MSHARE_WINDOW, MSHARE_ATTACH_FIXED), "mshare_attach");
	}
	if (by("file"))
		return case_map(mshare_region(case_path(), size, -1));
	sys_unlink(case_path());
	fd = must(sys_open(case_path(), O_RDWR | O_CREAT | O_EXCL, 0600), "create the range");
	if (by("ioctl")) {
		struct mshare_info range = { MSHARE_WINDOW, whole };
		struct mshare_create object = { .region_offset = MSHARE_WINDOW, .size = size, .prot = RW, .fd = MSHARE_NO_FD,
						.flags = MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED };

		must(sys_ioctl(fd, MSHAREFS_SET_SIZE, &range), "MSHAREFS_SET_SIZE");
		must(sys_ioctl(fd, MSHAREFS_CREATE_AT, &object), "MSHAREFS_CREATE_MAPPING");
	} else if (by_plain_file()) {
		must(sys_ftruncate(fd, whole), "ftruncate");
	}
	return case_map(fd);
}

/* Maps the range, which another process has made, into this one. */
static inline char *case_attach(void)
{
	if (!by("v1"))
		return case_map(must(case_open(), "open the range"));
	must(sys_mshare("case", MSHARE_WINDOW, case_size(), O_RDWR, 0600), "mshare");
	return (char *)MSHARE_WINDOW;
}

static inline void case_leave(char *range)
{
	must(sys_munmap((u64)range, case_size()), "munmap the range");
}

/* A word that the process and its later children share, to wait for each other. */
static inline volatile u64 *shared_word(void)
{
	return anonymous(PAGE_SIZE, MAP_SHARED);
}

static inline void wait_until(volatile u64 *word, u64 value)
{
	while (*word < value)
		sys_sched_yield();
}

/* Runs `work` in a child: its process id. */
static inline long child_that(int (*work)(void))
{
	long pid = must(sys_fork(), "fork");

	if (!pid)
		sys_exit_group(work());
	return pid;
}

/* What became of a child: "0", another exit status, or a signal's name. */
static inline void print_end(const char *what, int status)
{
	if (killed_by(status))
		print("%s: killed by %s\n", what, signal_name(killed_by(status)));
	else
		print("%s: exit status %d\n", what, exited(status));
}

#endif
