/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.procs has numbers as the reader's PID namespace has them; who is not there is 0. */
// needs: root, cgroup2, namespaces
#include "cgroups.h"

int main(void)
{
	long pid, other;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	other = sleeper();
	MOVE("a/cgroup.procs", other);
	MUST(unshare, CLONE_NEWPID);
	pid = MUST(fork);
	if (!pid) {
		PUT("a/cgroup.procs", "1");
		see("a/cgroup.procs");
		see("a/cgroup.threads");
		PUT("../cgroup.procs", "0");
		leave(0);
	}
	reap(pid);
	end_child(other);
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
