/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MREMAP_DONTUNMAP takes the lock from the mapping that it leaves, and not from its pages: they can neither be given up
 * nor sent out.  Where the mapping that it makes is beside that one, and no page has been written, both are one.
 */
// since: 6.18
// needs: proc
#include "mappings.h"

#define KEEP (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

static void counted(const char *what, char *p)
{
	print("%s: Rss %ld, Referenced %ld, LazyFree %ld, Locked %ld kB\n", what, figure(p, "Rss"), figure(p, "Referenced"),
	      figure(p, "LazyFree"), figure(p, "Locked"));
}

int main(void)
{
	char *p = fresh(3), *to = fresh(1);

	touch(p, 3);
	MUST(mlock, p, 3 * PAGE);
	MUST(mremap, p + PAGE, PAGE, PAGE, KEEP, to);
	counted("left", p);
	counted("moved", to);
	MUST(madvise, p, 3 * PAGE, MADV_FREE);
	for (int i = 0; i < 64; i++)
		MUST(madvise, p, PAGE, MADV_FREE);
	counted("given up", p);
	MUST(munmap, p, 3 * PAGE);
	p = at(area(), 3, RW, SHARED | MAP_LOCKED, -1, 0);
	MUST(mremap, p, PAGE, PAGE, KEEP, to);
	SHOW(madvise, p, 3 * PAGE, MADV_PAGEOUT);
	counted("shared and sent out", p);
	MUST(munmap, p, 3 * PAGE);
	p = area();
	at(p, 4, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(munmap, p + 3 * PAGE, PAGE);
	look(p);
	look(p + PAGE);
	MUST(mlock, p, 3 * PAGE);
	MUST(mremap, p + PAGE, PAGE, PAGE, KEEP, p + 3 * PAGE);
	counted("one mapping", p);
	print("of %ld kB\n", figure(p, "Size"));
	return 0;
}
