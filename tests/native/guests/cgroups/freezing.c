/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.freeze: who is frozen does nothing until it is thawed, and can be killed. */
// needs: root, cgroup2
#include "cgroups.h"

static volatile int *count;

static long counter(void)
{
	long pid = MUST(fork);

	if (!pid)
		for (;;) {
			++*count;
			sleep_ms(1);
		}
	return pid;
}

static int goes_on(void)
{
	int before = *count;

	sleep_ms(60);
	return *count != before;
}

int main(void)
{
	long pid;

	count = anonymous(PAGE, MAP_SHARED);
	enter_own_group();
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a/b", 0755);
	PUT("a/cgroup.freeze", "2");
	PUT("a/cgroup.freeze", "-1");
	PUT("a/cgroup.freeze", "x");
	PUT("a/cgroup.freeze", "");
	pid = counter();
	MOVE("a/b/cgroup.procs", pid);
	SAY(goes_on());
	PUT("a/cgroup.freeze", "1\n");
	sleep_ms(20);
	see("a/cgroup.events");
	see("a/b/cgroup.events");
	see("a/cgroup.freeze");
	see("a/b/cgroup.freeze");
	SAY(goes_on());
	PUT("a/b/cgroup.freeze", "0");
	see("a/b/cgroup.events");
	SHOW(kill, pid, SIGSTOP);
	SHOW(kill, pid, SIGCONT);
	SAY(goes_on());
	MOVE("cgroup.procs", pid);
	sleep_ms(20);
	SAY(goes_on());
	MOVE("a/cgroup.procs", pid);
	sleep_ms(20);
	SAY(goes_on());
	PUT("a/cgroup.freeze", "0");
	sleep_ms(20);
	see("a/cgroup.events");
	SAY(goes_on());
	PUT("a/cgroup.freeze", "1");
	sleep_ms(20);
	SHOW(mkdir, "a/born", 0755);
	see("a/born/cgroup.events");
	SHOW(rmdir, "a/born");
	SHOW(kill, pid, SIGKILL);
	reap(pid);
	see("a/cgroup.events");
	SHOW(rmdir, "a/b");
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
