/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.pressure, and the files that are there while it is 1. */
// needs: root, cgroup2
#include "cgroups.h"

int main(void)
{
	enter_own_group();
	see("cgroup.pressure");
	see("memory.pressure");
	see("io.pressure");
	PUT("cgroup.pressure", "2");
	PUT("cgroup.pressure", "x");
	PUT("memory.pressure", "much");
	PUT("cgroup.pressure", "0");
	see("cgroup.pressure");
	see("memory.pressure");
	see("cpu.pressure");
	PUT("cgroup.pressure", "1");
	see("io.pressure");
	remove_own_group();
	return 0;
}
