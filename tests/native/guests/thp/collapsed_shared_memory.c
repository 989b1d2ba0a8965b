/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* MADV_COLLAPSE of shared memory: the object gets a huge page, which one entry maps, and others when they touch it. */
#include "thp.h"

static char *shared(u64 pages, int fd, int flags)
{
	char *p = at(area(), pages, RW, flags, fd, 0);

	thp_tables = status("VmPTE");
	return p;
}

static void see(const char *what, char *p, u64 pages)
{
	print("ShmemPmdMapped %ld ", figure(p, "ShmemPmdMapped"));
	state(what, p, pages);
}

int main(void)
{
	int fd = MUST(memfd_create, "m", 0), to[2], from[2];
	char *p, *q, c;
	long pid;

	MUST(ftruncate, fd, 3 * MIB2);
	p = shared(3 * HUGE, fd, MAP_SHARED);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	p[5 * PAGE] = 5;
	see("one page", p, 3 * HUGE);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	see("collapsed", p, 3 * HUGE);
	print("%d %d\n", p[5 * PAGE], p[6 * PAGE]);
	FAULTS(touch(p, HUGE));
	SHOW(madvise, p, 3 * MIB2, MADV_COLLAPSE_);
	p[MIB2] = p[2 * MIB2] = 1;
	SHOW(madvise, p + PAGE, 2 * MIB2 - PAGE, MADV_COLLAPSE_);
	see("the second", p, 3 * HUGE);

	q = shared(3 * HUGE, fd, MAP_SHARED);
	FAULTS(look(q + 9 * PAGE));
	see("another mapping", q, 3 * HUGE);
	FAULTS(q[0] = 1);
	SHOW(mprotect, q, 3 * MIB2, PROT_READ);
	see("read only", q, 3 * HUGE);
	SHOW(mprotect, q, 3 * MIB2, RW);
	FAULTS(touch(q, HUGE));
	SHOW(mprotect, q, PAGE, PROT_READ);
	see("split", q, 1);
	see("split", q + PAGE, 3 * HUGE - 1);
	FAULTS(look(q + 2 * PAGE));
	see("read", q + PAGE, 3 * HUGE - 1);

	MUST(munmap, q, 3 * MIB2);
	q = shared(3 * HUGE, fd, MAP_PRIVATE);
	FAULTS(look(q));
	see("private", q, 3 * HUGE);
	FAULTS(q[3 * PAGE] = 9);
	see("written", q, 3 * HUGE);
	SHOW(madvise, q, MIB2, MADV_COLLAPSE_);
	SHOW(madvise, q + MIB2, MIB2, MADV_COLLAPSE_);
	see("collapsed", q, 3 * HUGE);
	print("%d %d\n", p[3 * PAGE], q[3 * PAGE]);
	MUST(munmap, q, 3 * MIB2);

	SHOW(madvise, p + 3 * PAGE, PAGE, MADV_DONTNEED);
	see("a part gone", p, 3 * HUGE);
	FAULTS(look(p + 3 * PAGE));
	see("again", p, 3 * HUGE);
	SHOW(fallocate, fd, 3, 3 * PAGE, PAGE);
	see("punched", p, 3 * HUGE);
	FAULTS(look(p + 3 * PAGE));
	print("%d %d\n", p[3 * PAGE], p[4 * PAGE]);
	SHOW(ftruncate, fd, MIB2 + 7 * PAGE);
	see("truncated", p, 3 * HUGE);
	SHOW(munmap, p, 3 * MIB2);

	p = shared(HUGE, -1, SHARED);
	touch(p, HUGE);
	MUST(pipe, to);
	MUST(pipe, from);
	pid = MUST(fork);
	if (!pid) {
		look(p);
		SYS(write, from[1], "x", 1);
		SYS(read, to[0], &c, 1);
		see("in the child", p, HUGE);
		FAULTS(look(p + PAGE));
		see("in the child", p, HUGE);
		leave(0);
	}
	MUST(read, from[0], &c, 1);
	SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
	see("in the parent", p, HUGE);
	MUST(write, to[1], "x", 1);
	reap(pid);
	SHOW(madvise, p, 4 * PAGE, MADV_REMOVE);
	see("removed", p, HUGE);
	touch(p, HUGE);
	see("written", p, HUGE);
	return 0;
}
