/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.max.depth and cgroup.max.descendants. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	enter_own_group();
	PUT("cgroup.max.depth", "-1");
	PUT("cgroup.max.depth", "abc");
	PUT("cgroup.max.depth", "99999999999");
	PUT("cgroup.max.depth", "");
	PUT("cgroup.max.depth", "0x0");
	see("cgroup.max.depth");
	SHOW(mkdir, "a", 0755);
	PUT("cgroup.max.depth", "1\n");
	SHOW(mkdir, "a", 0755);
	SHOW(mkdir, "a/b", 0755);
	PUT("cgroup.max.depth", " max ");
	see("cgroup.max.depth");
	SHOW(mkdir, "a/b", 0755);
	PUT("cgroup.max.descendants", "2");
	SHOW(mkdir, "c", 0755);
	SHOW(mkdir, "a/b/c", 0755);
	PUT("cgroup.max.descendants", "3");
	SHOW(mkdir, "a/b/c", 0755);
	PUT("cgroup.max.descendants", "0");
	see("cgroup.max.descendants");
	SHOW(rmdir, "a");
	SHOW(rmdir, "a/b/c");
	SHOW(rmdir, "a/b");
	SHOW(rmdir, "a");
	SHOW(mkdir, "a", 0755);
	PUT("cgroup.max.descendants", "max");
	SHOW(mkdir, "a", 0755);
	SHOW(rmdir, "a");
	remove_own_group();
	return 0;
}
