/* SPDX-License-Identifier: GPL-2.0-or-later */
/* personality(2): asked for and set. */
#include "native.h"

int main(void)
{
	SHOW(personality, 0xffffffff);
	SHOW(personality, 0x0040000);
	SHOW(personality, 0xffffffff);
	SHOW(personality, 0);
	return 0;
}
