/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pages count as used (Referenced in smaps): after faults and unmapping, by the kinds of clear_refs, after MADV_FREE. */
// since: 6.18
// needs: proc
#include "mappings.h"

static void clear(const char *kind)
{
	int fd = MUST(open, "/proc/self/clear_refs", O_WRONLY);

	MUST(write, fd, kind, 1);
	MUST(close, fd);
}

/* Tells of pages that are gathered on the way to a list. */
static void drain(void)
{
	static char own[PAGE] __attribute__((aligned(4096)));

	MUST(madvise, own, PAGE, MADV_POPULATE_READ);
}

int main(void)
{
	int file = file_of(4), flags[] = { PRIVATE, SHARED, MAP_PRIVATE, MAP_SHARED };
	u64 cpus = 1;
	char *p, *q;

	SYS(sched_setaffinity, 0, 8, &cpus);
	for (int kind = 0; kind < 6; kind++) {
		print("clear_refs %d:", kind);
		for (u32 i = 0; i < COUNT(flags); i++) {
			p = at(area(), 4, RW, flags[i], file, 0);
			touch(p, 2);
			look(p + 2 * PAGE);
			if (kind)
				clear((char[]){ '0' + kind, 0 });
			print(" %ld", figure(p, "Referenced"));
		}
		print("\n");
	}
	p = at(area(), 4, RW, MAP_SHARED, file, 0);
	touch(p, 4);
	clear("1");
	for (int i = 0; i < 5; i++) {
		q = at(area(), 4, PROT_READ, MAP_SHARED, file, 0);
		if (i != 3)
			look(q);
		if (i == 2)
			MUST(madvise, q, 4 * PAGE, MADV_RANDOM);
		MUST(munmap, q, 4 * PAGE);
		print("another mapping has gone: %ld\n", figure(p, "Referenced"));
	}
	clear("1");
	at(area(), 4, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	print("populated elsewhere: %ld\n", figure(p, "Referenced"));
	q = at(area(), 4, RW, PRIVATE | MAP_POPULATE, -1, 0);
	clear("1");
	print("populated and cleared: %ld\n", figure(q, "Referenced"));
	MUST(madvise, q, 2 * PAGE, MADV_POPULATE_WRITE);
	print("populated again: %ld\n", figure(q, "Referenced"));
	MUST(madvise, q, PAGE, MADV_FREE);
	drain();
	print("given up: %ld, of which %ld as such\n", figure(q, "Referenced"), figure(q, "LazyFree"));
	MUST(madvise, q, 4 * PAGE, MADV_COLD_);
	print("cold: %ld\n", figure(q, "Referenced"));
	return 0;
}
