/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remap_file_pages(2): a part of a shared file mapping shows other pages. */
#include "native.h"

int main(void)
{
	int fd = MUST(memfd_create, "m", 0);
	MUST(ftruncate, fd, 4 * PAGE);
	char *p = (void *)MUST(mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *a = anonymous(PAGE, MAP_PRIVATE);
	for (int i = 0; i < 4; i++)
		p[i * PAGE] = i;
	SHOW(remap_file_pages, p, PAGE, 0, 3, 0);
	print("%d %d\n", p[0], p[PAGE]);
	SHOW(remap_file_pages, p, PAGE, PROT_READ, 3, 0);
	SHOW(remap_file_pages, p, 0, 0, 3, 0);
	SHOW(remap_file_pages, a, PAGE, 0, 0, 0);
	SHOW(remap_file_pages, 1UL << 40, PAGE, 0, 0, 0);
	SHOW(remap_file_pages, p, PAGE, 0, -1UL, 0);
	return 0;
}
