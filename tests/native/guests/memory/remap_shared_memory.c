/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remap_file_pages(2) on shared memory without a name, over several mappings, and on what cannot be remapped. */
// since: 6.18
// needs: proc
#include "mappings.h"

static void show_area(const char *what, char *p, u64 pages)
{
	print("%s:", what);
	for (u64 i = 0; i < pages; i++)
		print(" %c", look(p + i * PAGE));
	print("\n");
	show_maps("  mappings", p, pages);
}

static char *eight(int flags, int fd)
{
	char *p = at(area(), 8, RW, flags, fd, 0);

	touch(p, 8);
	return p;
}

int main(void)
{
	int file = file_of(8), readable;
	char *p = eight(SHARED, -1);
	char path[] = "/proc/self/fd/ ";

	SHOW(remap_file_pages, p + PAGE, 2 * PAGE, 0, 5, 0);
	show_area("a part", p, 8);
	SHOW(remap_file_pages, p, 8 * PAGE, 0, 0, 0);
	show_area("over three mappings", p, 8);
	SHOW(remap_file_pages, p, 8 * PAGE, 0, 4, 0);
	show_maps("beyond the end", p, 8);
	p = eight(SHARED, -1);
	MUST(mprotect, p + 2 * PAGE, PAGE, PROT_READ);
	SHOW(remap_file_pages, p, 4 * PAGE, 0, 4, 0);
	SHOW(remap_file_pages, p + 2 * PAGE, PAGE, 0, 4, 0);
	show_area("one that may only be read", p, 8);
	p = eight(MAP_SHARED, file);
	MUST(munmap, p + 2 * PAGE, PAGE);
	SHOW(remap_file_pages, p, 4 * PAGE, 0, 4, 0);
	SHOW(remap_file_pages, p + 100, 2 * PAGE + 100, 0, 4, 0);
	show_area("a file", p, 2);
	at(p + 2 * PAGE, 1, RW, MAP_SHARED, file, 7);
	SHOW(remap_file_pages, p + PAGE, 3 * PAGE, 0, 0, MAP_NONBLOCK);
	show_area("three of its mappings", p, 8);
	p = eight(SHARED, -1);
	eight(SHARED, -1);
	at(p + 4 * PAGE, 4, RW, SHARED, -1, 0);
	SHOW(remap_file_pages, p, 5 * PAGE, 0, 1, 0);
	p = eight(SHARED, -1);
	MUST(mlock, p, 8 * PAGE);
	SHOW(remap_file_pages, p, 2 * PAGE, 0, 1, 0);
	print("still locked: %ld and %ld\n", figure(p, "Locked"), figure(p + 2 * PAGE, "Locked"));
	path[14] = '0' + file;
	readable = MUST(open, path, O_RDONLY);
	p = at(area(), 4, PROT_READ, MAP_SHARED, readable, 0);
	SHOW(remap_file_pages, p, PAGE, 0, 3, 0);
	p = eight(MAP_PRIVATE, file);
	SHOW(remap_file_pages, p, PAGE, 0, 3, 0);
	p = eight(SHARED, -1);
	MUST(mseal, p, 8 * PAGE, 0);
	SHOW(remap_file_pages, p, PAGE, 0, 3, 0);
	return 0;
}
