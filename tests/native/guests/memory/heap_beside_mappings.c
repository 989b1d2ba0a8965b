/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
/* brk(2) leaves a page free before a mapping and a gap before a stack, and heeds RLIMIT_DATA; calls that store in part. */
#include "mappings.h"

static void set(const char *what, char *end, char *start)
{
	long now = SYS(brk, end);

	print("%s: %ld%s\n", what, (now - (long)start) / (long)PAGE, now == (long)end ? "" : ", not moved");
}

int main(void)
{
	char *start = (char *)((SYS(brk, 0) + PAGE - 1) & -PAGE), *p = start + 600 * PAGE;
	struct rlimit limit = { 64 * PAGE, RLIM_INFINITY };

	set("aligned", start, start);
	MUST(mmap, p, PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
	set("up to a mapping", p, start);
	set("a byte into the page before it", p - PAGE + 1, start);
	set("a page before it", p - PAGE, start);
	set("back", start, start);
	MUST(mmap, p, PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	set("near a stack", p - 256 * PAGE, start);
	set("a page less", p - 257 * PAGE, start);
	set("back", start, start);
	MUST(munmap, p, PAGE);
	set("a lot", start + 100 * PAGE, start);
	MUST(setrlimit, RLIMIT_DATA, &limit);
	set("less, and still more than the limit", start + 90 * PAGE, start);
	set("within it", start + 10 * PAGE, start);
	set("above it", start + 70 * PAGE, start);
	p = fresh(1);
	SHOW(getrandom, p + PAGE - 10, 100, 0);
	SHOW(getrandom, p + PAGE, 100, 0);
	SHOW(getrandom, p, 100, 0);
	struct iovec none = { p, 0 }, some = { p, 10 };
	int file = file_of(1);
	SHOW(vmsplice, file, &none, 1, 0);
	SHOW(vmsplice, file, &some, 1, 0);
	SHOW(vmsplice, -1, &none, 1, 0);
	return 0;
}
