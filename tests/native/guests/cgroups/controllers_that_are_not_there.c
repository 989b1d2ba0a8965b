/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words that cgroup.subtree_control does not take. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	enter_own_group();
	SHOW(mkdir, "a", 0755);
	PUT("cgroup.subtree_control", "memory");
	PUT("cgroup.subtree_control", "+nothing");
	PUT("cgroup.subtree_control", "-nothing");
	PUT("cgroup.subtree_control", "+");
	PUT("cgroup.subtree_control", "");
	PUT("cgroup.subtree_control", " \n");
	PUT("cgroup.subtree_control", "-pids");
	PUT("cgroup.subtree_control", "+pids -pids");
	PUT("cgroup.subtree_control", "-pids  -pids\n");
	PUT("cgroup.subtree_control", "-pids +nothing");
	see("cgroup.subtree_control");
	PUT("a/cgroup.subtree_control", "+pids"); /* which its parent does not give */
	SHOW(open, "cgroup.controllers", O_WRONLY | O_CLOEXEC | O_DIRECTORY);
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
