/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* A child has not used the huge pages that its parent has; both have their tables. */
#include "thp.h"

int main(void)
{
	char *p = hugely(2, 0);
	long pid;

	p[0] = 1;
	look(p + MIB2);
	print("parent: Referenced %ld\n", figure(p, "Referenced"));
	long tables = status("VmPTE");
	pid = MUST(fork);
	if (!pid) {
		print("child: Referenced %ld, %ld more tables\n", figure(p, "Referenced"), status("VmPTE") - tables);
		look(p);
		print("read: Referenced %ld\n", figure(p, "Referenced"));
		p[5 * PAGE] = 1;
		print("written: Referenced %ld\n", figure(p, "Referenced"));
		leave(0);
	}
	reap(pid);
	return 0;
}
