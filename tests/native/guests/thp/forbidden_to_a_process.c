/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* PR_SET_THP_DISABLE: at all, and except where there is advice; fork and exec keep it. */
#include <sys/prctl.h>

#include "thp.h"

int main(void)
{
	char *p, *q;
	long pid;

	SHOW(prctl, 41, 1, 0, 0, 0);
	SHOW(prctl, 42, 0, 0, 0, 0);
	print("THP_enabled %ld\n", status("THP_enabled"));
	p = hugely(1, 0);
	FAULTS(touch(p, 2));
	state("disabled", p, HUGE);
	pid = MUST(fork);
	if (!pid) {
		SHOW(prctl, 42, 0, 0, 0, 0);
		print("THP_enabled %ld\n", status("THP_enabled"));
		leave(0);
	}
	reap(pid);
	SHOW(prctl, 41, 1, 2, 0, 0);
	SHOW(prctl, 42, 0, 0, 0, 0);
	print("THP_enabled %ld\n", status("THP_enabled"));
	q = hugely(1, 0);
	FAULTS(touch(q, 2));
	state("advised", q, HUGE);
	SHOW(prctl, 41, 0, 0, 0, 0);
	SHOW(prctl, 42, 0, 0, 0, 0);
	SHOW(madvise, p, MIB2, MADV_DONTNEED);
	FAULTS(touch(p, 2));
	state("enabled", p, HUGE);
	SHOW(prctl, 41, 0, 2, 0, 0);
	SHOW(prctl, 41, 1, 1, 0, 0);
	SHOW(prctl, 41, 1, 0, 1, 0);
	SHOW(prctl, 42, 1, 0, 0, 0);
	return 0;
}
