/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads of a process in several threaded groups. */
// needs: root, cgroup2
#include "cgroups.h"

static volatile int stop;

static int waits(u64 unused)
{
	(void)unused;
	while (!stop)
		SYS(futex, &stop, FUTEX_WAIT, 0, NULL);
	return 0;
}

int main(void)
{
	volatile int first, second;
	long me = SYS(getpid), one = thread(waits, 0, &first), two = thread(waits, 0, &second);

	enter_own_group();
	PUT("cgroup.procs", "0");
	see_numbers("cgroup.procs", me);
	see_numbers("cgroup.threads", one);
	SHOW(mkdir, "a", 0755);
	MOVE("a/cgroup.threads", one);
	PUT("a/cgroup.type", "threaded");
	MOVE("a/cgroup.threads", one);
	see_numbers("a/cgroup.threads", one);
	see_numbers("cgroup.threads", one);
	see_numbers("cgroup.threads", two);
	see_numbers("cgroup.procs", me);
	see("cgroup.type");
	MOVE("../cgroup.threads", one);
	MOVE("a/cgroup.procs", two);
	see_numbers("a/cgroup.threads", two);
	see("cgroup.threads");
	MOVE("cgroup.procs", one);
	see("a/cgroup.threads");
	see_numbers("cgroup.threads", me);
	MOVE("a/cgroup.threads", two);
	stop = 1;
	MUST(futex, &stop, FUTEX_WAKE, 2);
	join(&first), join(&second);
	see("a/cgroup.threads");
	see("a/cgroup.events");
	see_numbers("cgroup.threads", me);
	PUT("../cgroup.procs", "0");
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
