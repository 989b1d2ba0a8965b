/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getrandom(2): flags and addresses. */
#include "native.h"

int main(void)
{
	char text[300];
	SHOW(getrandom, text, 16, 0);
	SHOW(getrandom, text, 300, 1);
	SHOW(getrandom, text, 0, 0);
	SHOW(getrandom, text, 16, 2);
	SHOW(getrandom, text, 16, 6);
	SHOW(getrandom, text, 16, 8);
	SHOW(getrandom, NOWHERE, 16, 0);
	SHOW(getrandom, NOWHERE, 0, 0);
	SHOW(getrandom, NOWHERE, 16, 8);
	return 0;
}
