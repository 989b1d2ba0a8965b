/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of a private mapping of a file: copies go to swap, the file's own do not. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

int main(void)
{
	static char page[PAGE];
	int fd;
	char *p;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	fd = MUST(open, "h", O_RDWR | O_CREAT | O_TRUNC, 0600);
	memset(page, 'F', PAGE);
	for (int i = 0; i < 6; i++)
		MUST(write, fd, page, PAGE);
	p = at(area(), 6, RW, MAP_PRIVATE, fd, 0);
	touch(p, 2);
	look(p + 3 * PAGE);
	SHOW(madvise, p, 6 * PAGE, MADV_PAGEOUT_);
	print("VmSwap %d\n", (int)status("VmSwap"));
	print("%lx %lx\n", mapped(p), mapped(p + PAGE));
	FAULTS(SAY(look(p)));
	FAULTS(p[PAGE] = 9);
	print("%d %d %d\n", p[0], p[PAGE], p[2 * PAGE]);
	SHOW(ftruncate, fd, PAGE);
	SAY(look(p));
	MUST(munmap, p, 6 * PAGE);
	print("VmSwap %d\n", (int)status("VmSwap"));
	MUST(close, fd);
	swap_end();
	return 0;
}
