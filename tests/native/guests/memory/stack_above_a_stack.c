/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mapping that grows down keeps a gap of 256 pages to what is below, but not to another one, nor to PROT_NONE. */
// needs: proc
#include "mappings.h"

static void grow(const char *what, char *p, long pages)
{
	long child = MUST(fork);

	if (!child) {
		print("%s\n", what);
		touch(p - pages * PAGE, 1);
		show_maps("grown", p - 512 * PAGE, 513);
		leave(0);
	}
	reap(child);
}

int main(void)
{
	char *p = area() + 600 * PAGE;

	at(p, 1, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
	at(p - 300 * PAGE, 1, RW, PRIVATE, -1, 0);
	grow("within the gap", p, 44);
	grow("before it", p, 43);
	at(p - 300 * PAGE, 1, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
	grow("above another one", p, 200);
	grow("up to another one", p, 299);
	at(p - 300 * PAGE, 1, PROT_NONE, PRIVATE, -1, 0);
	grow("above what nobody may touch", p, 299);
	MUST(munmap, p - 300 * PAGE, PAGE);
	at(p - 500 * PAGE, 1, RW, SHARED, -1, 0);
	grow("above shared memory", p, 244);

	struct rlimit limit = { 20 * PAGE, 20 * PAGE };
	MUST(setrlimit, RLIMIT_STACK, &limit);
	grow("up to its limit", p, 19);
	grow("over its limit", p, 20);
	return 0;
}
