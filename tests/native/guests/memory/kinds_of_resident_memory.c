/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
/* What counts as data, stack, code, memory of files and shared memory in /proc/self/status and statm. */
#include "mappings.h"

static const char *const names[] = { "VmSize", "VmLck", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmExe", "VmLib" };
static long before[COUNT(names)], pages_before[7];

static void changes(const char *what)
{
	long change, now;
	const char *at;

	if (what)
		print("%s:", what);
	for (u32 i = 0; i < COUNT(names); i++) {
		now = status(names[i]);
		change = now - before[i];
		before[i] = now;
		if (what && change)
			print(" %s %ld", names[i], change);
	}
	read_all("/proc/self/statm");
	at = native_maps;
	for (int i = 0; i < 7; i++, at++) {
		now = number_at(&at, 10);
		change = now - pages_before[i];
		pages_before[i] = now;
		if (what)
			print("%s %ld", i ? "" : " |", change);
	}
	if (what)
		print("\n");
}

static void try(const char *what, char *p)
{
	changes(what);
	look(p);
	changes("read");
	MUST(munmap, p, 8 * PAGE);
	changes("gone");
}

int main(void)
{
	int file = file_of(8), secret = MUST(memfd_secret, 0);
	struct timespec time;

	MUST(ftruncate, secret, 8 * PAGE);
	changes(0);
	changes(0);
	try("private", at(area(), 8, RW, PRIVATE, -1, 0));
	try("for reading", at(area(), 8, PROT_READ, PRIVATE, -1, 0));
	try("executed", at(area(), 8, 5, PRIVATE, -1, 0));
	try("written and executed", at(area(), 8, 7, PRIVATE, -1, 0));
	try("stack", at(area(), 8, RW, PRIVATE | MAP_GROWSDOWN, -1, 0));
	try("stack for reading", at(area(), 8, PROT_READ, PRIVATE | MAP_GROWSDOWN, -1, 0));
	try("stack executed", at(area(), 8, 5, PRIVATE | MAP_GROWSDOWN, -1, 0));
	try("shared", at(area(), 8, RW, SHARED, -1, 0));
	try("file", at(area(), 8, RW, MAP_SHARED, file, 0));
	try("private file", at(area(), 8, RW, MAP_PRIVATE, file, 0));
	try("private file executed", at(area(), 8, 5, MAP_PRIVATE, file, 0));
	try("secret", at(area(), 8, RW, MAP_SHARED, secret, 0));
	MUST(clock_gettime, CLOCK_MONOTONIC, &time);
	changes("clock");
	return 0;
}
