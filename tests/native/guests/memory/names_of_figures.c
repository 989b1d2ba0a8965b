/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names and the layout of what /proc tells of memory, each number being one 9. Kernels with same-page merging and
 * NUMA balancing have more of them, which are left out.
 */
// since: 6.18
// needs: root, proc, no swap
#include "mappings.h"

static const char *const files[] = { "/proc/meminfo", "/proc/vmstat", "/proc/self/status", "/proc/self/smaps_rollup",
				     "/proc/self/statm" };
static const char *const left_out[] = { "ksm", "KSM", "numa_", "pgpromote", "cow_ksm", "Cap", "Speculation", "Cpus_allowed",
					"Mems_allowed", "Seccomp", "SigQ", "rollup", "DirectMap" };

static int is_left_out(const char *line, const char *end)
{
	for (u32 i = 0; i < COUNT(left_out); i++) {
		const char *found = find(line, left_out[i]);

		if (found && found < end)
			return 1;
	}
	return 0;
}

/* Of one line: runs of digits, and of the spaces before them, are one. */
static void show_line(const char *line, const char *end)
{
	if (is_left_out(line, end))
		return;
	for (const char *at = line; at < end; at++) {
		int digit = *at >= '0' && *at <= '9' && (at[-1] == ' ' || at[-1] == '\t' || at[-1] == '9');

		if (digit)
			while (at[1] >= '0' && at[1] <= '9')
				at++;
		if (*at == ' ' && at[1] == ' ')
			continue;
		print("%c", digit ? '9' : *at);
	}
	print("\n");
}

static void show_file(const char *path, const char *from)
{
	print("== %s\n", path);
	read_all(path);
	for (const char *line = from ? find(native_maps, from) : native_maps, *end; line && *line; line = end + 1) {
		for (end = line; *end && *end != '\n'; end++)
			;
		show_line(line, end);
	}
}

/* The zone that has memory, up to its processors; others have other names. */
static void show_zone(void)
{
	const char *line, *end;

	read_all("/proc/zoneinfo");
	for (line = find(native_maps, "  per-node"); line; line = end + 1) {
		for (end = line; *end != '\n'; end++)
			;
		if (!memcmp(line, "  pagesets", 10))
			break;
		show_line(line, end);
	}
	for (int i = 0; i < 8; i++, line = end + 1) {
		for (end = line; *end != '\n'; end++)
			;
		show_line(line, end);
	}
}

int main(void)
{
	for (u32 i = 0; i < COUNT(files); i++)
		show_file(files[i], 0);
	print("== zone\n");
	show_zone();
	show_file("/proc/self/smaps", "[stack]");
	return 0;
}
