/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kill(2): processes, groups, numbers that are no signals. */
#include "native.h"

int main(void)
{
	long me = SYS(getpid);
	SHOW(kill, me, 0);
	SHOW(kill, me, 65);
	SHOW(kill, me, -1);
	SHOW(kill, 1 << 30, 0);
	SHOW(kill, 1 << 30, 65);
	SHOW(kill, -(1 << 30), 0);
	SHOW(kill, 1 << 31, 0);
	handle(SIGUSR1, SIG_IGN, 0);
	SHOW(kill, 0, SIGUSR1);
	SHOW(kill, -me, SIGUSR1);
	SHOW(tkill, me, SIGUSR1);
	SHOW(tkill, me, 65);
	SHOW(tkill, 0, 0);
	SHOW(tkill, 1 << 30, 0);
	SHOW(tgkill, me, me, SIGUSR1);
	SHOW(tgkill, me, me, 65);
	SHOW(tgkill, me, 0, 0);
	SHOW(tgkill, 0, me, 0);
	SHOW(tgkill, me, 1 << 30, 0);
	SHOW(tgkill, 1 << 30, me, 0);
	return 0;
}
