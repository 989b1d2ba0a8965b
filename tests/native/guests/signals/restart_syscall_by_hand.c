/* SPDX-License-Identifier: GPL-2.0-or-later */
/* restart_syscall(2) with nothing to restart. */
#include "native.h"

int main(void)
{
	SHOW(restart_syscall);
	return 0;
}
