/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who freezes its own group goes on when another thaws it, where it was. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	long pid;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	pid = MUST(fork);
	if (!pid) {
		MUST(setsid);
		PUT("a/cgroup.procs", "0");
		PUT("a/cgroup.freeze", "1");
		print("thawed\n");
		see("a/cgroup.events");
		leave(4);
	}
	sleep_ms(60);
	print("now\n");
	see("a/cgroup.events");
	put_in("a/cgroup.freeze", "0");
	reap(pid);
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
