/* SPDX-License-Identifier: GPL-2.0-or-later */
/* munmap(2): holes are no error, arguments are. */
#include "native.h"

int main(void)
{
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	SHOW(munmap, p + PAGE, PAGE);
	SHOW(munmap, p + PAGE, PAGE);
	SHOW(munmap, p, 4 * PAGE);
	SHOW(munmap, p + 1, PAGE);
	SHOW(munmap, p, 0);
	SHOW(munmap, p, -1UL);
	SHOW(munmap, -PAGE, PAGE);
	SHOW(munmap, p, 1);
	SHOW(munmap, 0, PAGE);
	SHOW(munmap, 1UL << 60, PAGE);
	return 0;
}
