/* SPDX-License-Identifier: GPL-2.0-or-later */
/* madvise(2): what each advice does and where it is not allowed. */
#include "native.h"

int main(void)
{
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR);
	char *p = anonymous(4 * PAGE, MAP_PRIVATE), *s = anonymous(PAGE, MAP_SHARED);
	char *m = (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = s[0] = 1;
	m[0] = 'y';
	SHOW(madvise, p, PAGE, MADV_DONTNEED);
	SHOW(madvise, s, PAGE, MADV_DONTNEED);
	SHOW(madvise, m, PAGE, MADV_DONTNEED);
	print("%d %d %c\n", p[0], s[0], m[0]);
	SHOW(madvise, p, 0, MADV_DONTNEED);
	SHOW(madvise, p + 1, PAGE, MADV_DONTNEED);
	SHOW(madvise, p, -PAGE, MADV_DONTNEED);
	SHOW(madvise, p, PAGE, 99);
	SHOW(madvise, p + 1, PAGE, 99);
	SHOW(madvise, p, PAGE, MADV_NORMAL);
	SHOW(madvise, p, PAGE, MADV_WILLNEED);
	SHOW(madvise, p, PAGE, MADV_FREE);
	SHOW(madvise, s, PAGE, MADV_FREE);
	SHOW(madvise, m, PAGE, MADV_REMOVE);
	SHOW(madvise, p, PAGE, MADV_REMOVE);
	SHOW(madvise, s, PAGE, MADV_REMOVE);
	SAY(s[0]);
	SHOW(madvise, p, PAGE, MADV_DONTFORK);
	SHOW(madvise, p, PAGE, MADV_DOFORK);
	SHOW(madvise, p, PAGE, MADV_WIPEONFORK);
	SHOW(madvise, s, PAGE, MADV_WIPEONFORK);
	SHOW(madvise, p, PAGE, MADV_KEEPONFORK);
	SHOW(madvise, p, PAGE, MADV_POPULATE_READ);
	SHOW(madvise, p, PAGE, MADV_POPULATE_WRITE);
	SHOW(madvise, p, PAGE, MADV_COLD);
	SHOW(madvise, p, PAGE, MADV_PAGEOUT);
	MUST(munmap, p + PAGE, PAGE);
	SHOW(madvise, p, 4 * PAGE, MADV_DONTNEED);
	SHOW(madvise, p, 4 * PAGE, MADV_WILLNEED);
	SHOW(madvise, p + PAGE, PAGE, MADV_NORMAL);
	SHOW(madvise, p, 4 * PAGE, MADV_POPULATE_READ);
	MUST(mlock, p, PAGE);
	SHOW(madvise, p, PAGE, MADV_DONTNEED);
	return 0;
}
