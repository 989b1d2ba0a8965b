/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
// needs: root
/* /proc/PID/map_files, and who may look into files about memory. */
#include "mappings.h"

static char path[80];

static const char *link_of(u64 low, u64 high)
{
	static const char start[] = "/proc/self/map_files/";
	char *to = path;

	for (const char *from = start; *from;)
		*to++ = *from++;
	for (int part = 0; part < 2; part++) {
		u64 value = part ? high : low;
		int begun = 0;

		for (int shift = 60; shift >= 0; shift -= 4)
			if (begun || value >> shift & 15)
				*to++ = "0123456789abcdef"[value >> shift & 15], begun = 1;
		*to++ = part ? 0 : '-';
	}
	return path;
}

static void show_link(const char *what, char *p, u64 pages)
{
	char text[80];
	struct stat status;
	long n = SYS(readlink, link_of((u64)p, (u64)p + pages * PAGE), text, sizeof(text) - 1);

	if (failed(n)) {
		print("%s: %s\n", what, errno_name(-n));
		return;
	}
	text[n] = 0;
	MUST(lstat, path, &status);
	print("%s: %s, %o, %ld\n", what, text, status.st_mode, status.st_size);
}

static const char *const names[] = { "maps", "smaps", "smaps_rollup", "numa_maps", "pagemap", "mem", "timers",
				     "map_files", "fd", "fdinfo", "statm", "clear_refs" };

static void who_may(const char *whose, const char *directory)
{
	int there = MUST(open, directory, O_RDONLY | O_DIRECTORY);

	print("%s:", whose);
	for (u32 i = 0; i < COUNT(names); i++) {
		long fd = SYS(openat, there, names[i], O_RDONLY);

		print(" %s %s", names[i], result_name(fd));
		if (!failed(fd))
			MUST(close, fd);
	}
	print("\n");
	MUST(close, there);
}

int main(void)
{
	int file = file_of(4), readonly;
	char self[] = "/proc/self/fd/ ", *p;

	self[14] = '0' + file;
	readonly = MUST(open, self, O_RDONLY);
	show_link("private", at(area(), 2, PROT_READ, MAP_PRIVATE, file, 1), 2);
	show_link("shared", at(area(), 2, RW, MAP_SHARED, file, 0), 2);
	show_link("for reading", at(area(), 2, PROT_READ, MAP_SHARED, readonly, 0), 2);
	show_link("anonymous", fresh(2), 2);
	show_link("shared anonymous", at(area(), 2, RW, SHARED, -1, 0), 2);
	p = at(area(), 2, RW, MAP_SHARED, file, 0);
	show_link("a part", p, 1);
	show_link("nothing", area(), 1);
	who_may("root of itself", "/proc/self");
	long pid = MUST(fork), other = SYS(getppid);

	if (!pid) {
		char parent[] = "/proc/0000000000";
		long number = MUST(getppid);

		for (int i = 15; i > 5; i--, number /= 10)
			parent[i] = '0' + number % 10;
		char *first = parent + 6;
		while (*first == '0')
			first++;
		char *to = parent + 6;
		while ((*to++ = *first++))
			;
		become(65534);
		who_may("another's", parent);
		who_may("its own, after a change of user", "/proc/self");
		MUST(prctl, 4, 1, 0, 0, 0);
		who_may("its own, that may be dumped", "/proc/self");
		leave(0);
	}
	(void)other;
	MUST(wait4, pid, 0, 0, 0);
	return 0;
}
