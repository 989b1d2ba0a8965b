/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has which part of a page, by smaps and numa_maps, before a fork, while there is a child, in it, and after. */
// since: 6.18
// needs: proc
#define WHOLE_LINES
#include "mappings.h"

static const char *const names[] = { "private", "shared file", "private file", "shared", "zero page", "stack" };
static char *areas[COUNT(names)];

/* Tells of pages that are gathered on the way to a list. */
static void drain(void)
{
	static char own[PAGE] __attribute__((aligned(4096)));

	MUST(madvise, own, PAGE, MADV_POPULATE_READ);
}

static void show_figures(const char *when)
{
	static const char *const figures[] = { "Rss",		"Pss",		 "Pss_Dirty",	  "Shared_Clean", "Shared_Dirty",
					       "Private_Clean", "Private_Dirty", "Referenced", "Anonymous",	  "Locked" };

	drain();
	for (u32 i = 0; i < COUNT(names); i++) {
		print("%s, %s:", when, names[i]);
		for (u32 k = 0; k < COUNT(figures); k++)
			print(" %s %ld", figures[k], figure(areas[i], figures[k]));
		print("\n");
	}
	read_all("/proc/self/numa_maps");
	for (const char *line = native_maps; *line; line++) {
		u64 low = number_at(&line, 16);
		int inside = low >= (u64)areas[0] && low < (u64)areas[COUNT(names) - 1] + 8 * PAGE;

		if (inside)
			print("  %lx", (low - (u64)areas[0]) / PAGE);
		for (; *line != '\n'; line++) {
			if (!memcmp(line, " active=", 8)) /* which is told of late */
				for (line++; *line != ' ';)
					line++;
			if (inside)
				print("%c", *line);
		}
		if (inside)
			print("\n");
	}
}

int main(void)
{
	int file = file_of(8);
	u64 cpus = 1;
	long child;

	SYS(sched_setaffinity, 0, 8, &cpus);
	for (u32 i = 0; i < COUNT(names); i++)
		areas[i] = area();
	touch(at(areas[0], 16, RW, PRIVATE, -1, 0), 10);
	touch(at(areas[1], 8, RW, MAP_SHARED, file, 0), 4);
	touch(at(areas[2], 8, RW, MAP_PRIVATE, file, 0), 2);
	look(areas[2] + 7 * PAGE);
	touch(at(areas[3], 8, RW, SHARED, -1, 0), 3);
	MUST(mlock, areas[3], 4 * PAGE);
	at(areas[4], 8, PROT_READ, PRIVATE | MAP_POPULATE, -1, 0);
	touch(at(areas[5], 8, RW, PRIVATE | MAP_GROWSDOWN, -1, 0), 1);
	show_figures("alone");
	child = MUST(fork);
	if (!child) {
		show_figures("the child");
		touch(areas[0], 5);
		look(areas[0] + 9 * PAGE);
		look(areas[1]);
		show_figures("the child, which has written");
		for (u32 i = 0; i < 2; i++)
			print("peaks: %ld and %ld kB more\n", status("VmHWM") - status("VmRSS"), status("VmPeak") - status("VmSize"));
		leave(0);
	}
	MUST(wait4, child, 0, 0, 0);
	show_figures("after it");
	child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	show_figures("with a child");
	touch(areas[0], 5);
	touch(areas[2], 1);
	show_figures("having written");
	MUST(kill, child, SIGKILL);
	MUST(wait4, child, 0, 0, 0);
	show_figures("alone again");
	return 0;
}
