/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getrusage(2) and times(2). */
#include "native.h"

int main(void)
{
	struct rusage usage;
	long ticks[4];
	SHOW(getrusage, RUSAGE_SELF, &usage);
	SHOW(getrusage, RUSAGE_CHILDREN, &usage);
	SHOW(getrusage, RUSAGE_THREAD, &usage);
	SHOW(getrusage, 5, &usage);
	SHOW(getrusage, RUSAGE_SELF, NOWHERE);
	SHOW(getrusage, 5, NOWHERE);
	DO(times, ticks);
	DO(times, NULL);
	SHOW(times, NOWHERE);
	return 0;
}
