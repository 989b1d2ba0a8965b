/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAP_DROPPABLE: private memory that a child gets empty, that is not promised, and that no lock keeps. */
// since: 6.11
// needs: proc
#include "mappings.h"

int main(void)
{
	int fd = file_of(1);
	char *p = area();

	SAY(SYS(mmap, p, PAGE, RW, MAP_DROPPABLE_ | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)p);
	SHOW(mmap, 0, PAGE, RW, MAP_DROPPABLE_, fd, 0);
	SHOW(mmap, 0, PAGE, RW, MAP_DROPPABLE_ | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	SHOW(mmap, 0, PAGE, RW, MAP_DROPPABLE_ | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
	SHOW(mmap, 0, PAGE, RW, MAP_DROPPABLE_ | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	SHOW(mlock, p, PAGE);
	SAY(figure(p, "Locked"));
	SHOW(madvise, p, PAGE, MADV_KEEPONFORK);
	SHOW(madvise, p, PAGE, MADV_WIPEONFORK);
	SHOW(madvise, p, PAGE, MADV_DODUMP);
	SHOW(madvise, p, PAGE, MADV_DONTDUMP);
	touch(p, 1);
	long child = MUST(fork);
	if (!child) {
		SAY(look(p));
		leave(0);
	}
	reap(child);
	SAY(look(p));
	at(p + PAGE, 1, RW, PRIVATE, -1, 0);
	show_maps("beside other memory", p, 2);
	return 0;
}
