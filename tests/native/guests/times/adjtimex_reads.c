/* SPDX-License-Identifier: GPL-2.0-or-later */
/* adjtimex(2) and clock_settime(2): what may be asked, and what only root may set. */
// needs: root
#include "native.h"
#include <sys/timex.h>

int main(void)
{
	struct timex t = { .modes = 0 };
	struct timespec bad = { 0, 1000000000 };
	DO(adjtimex, &t);
	SAY(t.tick);
	SHOW(adjtimex, NOWHERE);
	t.modes = 0x4000;
	t.tick = 1;
	SHOW(adjtimex, &t);
	DO(clock_adjtime, CLOCK_REALTIME, &(struct timex){ .modes = 0 });
	SHOW(clock_adjtime, 99, &t);
	SHOW(clock_settime, CLOCK_REALTIME, &bad);
	SHOW(clock_settime, CLOCK_MONOTONIC, &bad);
	SHOW(clock_settime, 99, &bad);
	SHOW(clock_settime, CLOCK_REALTIME, NOWHERE);
	become(1000);
	t.modes = 0;
	DO(adjtimex, &t);
	t.modes = 2;
	SHOW(adjtimex, &t);
	bad.tv_nsec = 0;
	SHOW(clock_settime, CLOCK_REALTIME, &bad);
	return 0;
}
