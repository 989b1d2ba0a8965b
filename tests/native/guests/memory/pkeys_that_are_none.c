/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pkey_mprotect(2), pkey_free(2), pkey_alloc(2): arguments. */
#include "native.h"

int main(void)
{
	char *p = anonymous(PAGE, MAP_PRIVATE);
	SHOW(pkey_mprotect, p, PAGE, PROT_READ, -1);
	SHOW(pkey_mprotect, p, PAGE, PROT_READ | PROT_WRITE, 15);
	SHOW(pkey_mprotect, p, PAGE, PROT_READ, 16);
	SHOW(pkey_mprotect, p + 1, PAGE, PROT_READ, -1);
	SHOW(pkey_free, 15);
	SHOW(pkey_free, -1);
	SHOW(pkey_alloc, 1, 0);
	SHOW(pkey_alloc, 0, 4);
	return 0;
}
