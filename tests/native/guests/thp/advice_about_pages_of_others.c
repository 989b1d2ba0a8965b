/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages, no swap
/* MADV_FREE, MADV_COLD and MADV_PAGEOUT of huge pages and parts of them: written by force, shared by fork, given up. */
#include "thp.h"

static char drained[PAGE] __attribute__((aligned(4096)));

static void what(const char *name, char *p)
{
	print("%s: AnonHugePages %ld Rss %ld Private_Dirty %ld Shared_Dirty %ld Referenced %ld LazyFree %ld", name,
	      figure(p, "AnonHugePages"), figure(p, "Rss"), figure(p, "Private_Dirty"), figure(p, "Shared_Dirty"),
	      figure(p, "Referenced"), figure(p, "LazyFree"));
	pages_of(p, HUGE);
}

static long child_that_waits(void)
{
	long pid = MUST(fork);

	while (!pid)
		SYS(pause);
	return pid;
}

static void advise(char *p, u64 size, int advice)
{
	MUST(madvise, p, size, advice);
	MUST(madvise, drained, PAGE, 22); /* gathered pages count from now on */
}

int main(void)
{
	int memory = MUST(open, "/proc/self/mem", O_RDWR);
	char *p;
	long child;

	p = hugely(1, 0);
	touch(p, HUGE);
	advise(p, MIB2, MADV_PAGEOUT_);
	what("sent out where there is no swap", p);
	p = hugely(1, 0);
	touch(p, 10);
	advise(p, MIB2, MADV_PAGEOUT_);
	what("most of it zeros", p);
	p = hugely(1, 0);
	touch(p, HUGE);
	advise(p, MIB2, MADV_FREE);
	advise(p, MIB2, MADV_PAGEOUT_);
	what("given up and sent out", p);
	p = hugely(1, 0);
	touch(p, HUGE);
	advise(p, MIB2, MADV_FREE);
	*(volatile char *)p = 'x';
	advise(p, MIB2, MADV_PAGEOUT_);
	what("written again and sent out", p);
	p = hugely(1, 0);
	touch(p, HUGE);
	MUST(pwrite64, memory, "abc", 3, p + 7 * PAGE);
	advise(p, MIB2, MADV_COLD_);
	what("used from elsewhere, then cold", p);
	MUST(pread64, memory, native_maps, 3, p + 9 * PAGE);
	what("read from elsewhere", p);
	int clear = MUST(open, "/proc/self/clear_refs", O_WRONLY);
	MUST(write, clear, "1", 1);
	what("forgotten", p);
	p = hugely(1, 0);
	touch(p, HUGE);
	MUST(munmap, p + 510 * PAGE, 2 * PAGE);
	child = child_that_waits();
	advise(p, 510 * PAGE, MADV_FREE);
	print("a part that a child has, given up: Private_Dirty %ld Shared_Dirty %ld LazyFree %ld\n", figure(p, "Private_Dirty"),
	      figure(p, "Shared_Dirty"), figure(p, "LazyFree"));
	end_child(child);
	p = at(area(), 8, RW, PRIVATE, -1, 0);
	touch(p, 8);
	MUST(pwrite64, memory, native_maps, 3 * PAGE, p);
	child = child_that_waits();
	advise(p, 8 * PAGE, MADV_FREE);
	print("small ones, three of which were written by force: Shared_Dirty %ld LazyFree %ld\n", figure(p, "Shared_Dirty"),
	      figure(p, "LazyFree"));
	end_child(child);
	advise(p, 8 * PAGE, MADV_FREE);
	print("alone again: Private_Dirty %ld LazyFree %ld\n", figure(p, "Private_Dirty"), figure(p, "LazyFree"));
	int file = MUST(memfd_create, "file", 0);
	MUST(ftruncate, file, MIB2);
	p = at(area(), HUGE, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	print("clean: Private_Dirty %ld\n", figure(p, "Private_Dirty"));
	MUST(madvise, p, MIB2, MADV_COLLAPSE_);
	print("collapsed: Private_Dirty %ld ShmemPmdMapped %ld\n", figure(p, "Private_Dirty"), figure(p, "ShmemPmdMapped"));
	return 0;
}
