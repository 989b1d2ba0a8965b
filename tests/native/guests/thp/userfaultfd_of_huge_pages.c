/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* A userfaultfd and huge pages: fills, protected pages, moves. */
#include "uffd.h"
#define show_pages show_mapped
#include "thp.h"

int main(void)
{
	pages_begin();
	int fd = uffd_open(F_EXACT | F_UNPOPULATED | 1UL << 16 /* move */);
	char *p = hugely(2, 0), *q = hugely(2, 0);

	touch(p, 2 * HUGE);
	SAY(uffd_register(fd, p, 2 * HUGE, WP));
	{
		u64 all[3] = { (u64)p, MIB2, PROTECT };

		SAY(SYS(ioctl, fd, WRITEPROTECT, all));
		state("protected", p, 2 * HUGE);
		all[2] = 0;
		SAY(SYS(ioctl, fd, WRITEPROTECT, all));
		FAULTS(touch(p, 4));
		state("no longer", p, 2 * HUGE);
		all[0] += 8 * PAGE, all[1] = 2 * PAGE, all[2] = PROTECT;
		SAY(SYS(ioctl, fd, WRITEPROTECT, all));
		state("two pages", p, 2 * HUGE);
		all[2] = 0;
		SAY(SYS(ioctl, fd, WRITEPROTECT, all));
	}
	{
		struct uffd_copy copy = { .dst = (u64)p + MIB2, .src = (u64)p, .len = PAGE };

		SAY(uffd_register(fd, p, 2 * HUGE, MISSING | WP));
		SAY(SYS(ioctl, fd, COPY, &copy));
		SHOW(madvise, p + MIB2, MIB2, MADV_DONTNEED);
		SAY(SYS(ioctl, fd, COPY, &copy));
		state("copied", p, 2 * HUGE);
		SHOW(madvise, p + MIB2, MIB2, MADV_COLLAPSE_);
		SHOW(madvise, p, MIB2, MADV_COLLAPSE_);
		state("collapsed", p, 2 * HUGE);
	}
	SHOW(madvise, p, 2 * MIB2, MADV_DONTNEED);
	touch(q, 2 * HUGE);
	{
		struct uffd_copy move = { .dst = (u64)p, .src = (u64)q, .len = MIB2 };

		SAY(SYS(ioctl, fd, MOVE, &move));
		state("moved", p, 2 * HUGE);
		state("from", q, 2 * HUGE);
		move.dst += MIB2, move.src += MIB2 + PAGE, move.len = PAGE;
		SAY(SYS(ioctl, fd, MOVE, &move));
		state("one page", p, 2 * HUGE);
		state("from", q, 2 * HUGE);
	}
	{
		u64 range[2] = { (u64)p, 2 * MIB2 };

		SAY(SYS(ioctl, fd, UNREGISTER, range));
		state("closed", p, 2 * HUGE);
		FAULTS(touch(p, 2 * HUGE));
	}
	return 0;
}
