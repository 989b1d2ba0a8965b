/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clone3(2) with CLONE_INTO_CGROUP. */
// needs: root, cgroup2
#include "cgroups.h"

struct args {
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static long into(long fd, u64 more, u64 size)
{
	struct args args = { .flags = 0x200000000UL | more, .exit_signal = SIGCHLD, .cgroup = fd };
	long pid = SYS(clone3, &args, size);

	if (!pid)
		for (;;)
			sleep_ms(1000);
	return pid;
}

#define INTO(what) show(#what, what)

int main(void)
{
	int a, file;
	long pid;

	enter_own_group();
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a/b", 0755);
	a = MUST(open, "a", O_RDONLY | O_DIRECTORY);
	file = MUST(open, "a/cgroup.procs", O_RDONLY);
	INTO(into(-1, 0, 88));
	INTO(into(999, 0, 88));
	INTO(into(a, 0, 80));
	INTO(into(1UL << 32, 0, 88));
	INTO(into(file, 0, 88));
	INTO(into(MUST(open, "/", O_RDONLY), 0, 88));
	pid = show_if_ok("into a", into(a, 0, 88));
	see_numbers("a/cgroup.procs", pid);
	end_child(pid); /* not by cgroup.kill: who is cloned into a group that was killed once is killed too */
	pid = show_if_ok("into a/b", into(MUST(open, "a/b", O_PATH), 0, 88));
	see_numbers("a/b/cgroup.procs", pid);
	PUT("a/b/cgroup.freeze", "1");
	end_child(pid);
	pid = show_if_ok("into a frozen one", into(MUST(open, "a/b", O_PATH), 0, 88));
	sleep_ms(20);
	see("a/b/cgroup.events");
	end_child(pid);
	SHOW(rmdir, "a/b");
	SHOW(rmdir, "a");
	INTO(into(a, 0, 88));
	remove_own_group();
	return 0;
}
