/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWUSER by an ordinary user: ids before and after the maps, capabilities, setgroups. */
// needs: root, proc, namespaces
#include "native.h"
#include "idmap.h"
#include <linux/capability.h>

#define PUT(path, text) show("write " path " \"" text "\"", put_map(path, text))

static void ids(const char *when)
{
	u32 r, e, s, groups[8];
	long n = SYS(getgroups, 8, groups);

	MUST(getresuid, &r, &e, &s);
	print("%s: uid %u %u %u", when, r, e, s);
	MUST(getresgid, &r, &e, &s);
	print(" gid %u %u %u, %ld groups", r, e, s, n);
	for (long i = 0; i < n; i++)
		print(" %u", groups[i]);
	print("\n");
}

static void capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	MUST(capget, &header, data);
	print("effective %s, permitted %s, inheritable %x\n", data[0].effective == ~0u ? "all" : "not all",
	      data[0].permitted == ~0u ? "all" : "not all", data[0].inheritable);
}

int main(void)
{
	struct stat status;
	u32 groups[2] = { 7, 0 };

	put("of_root", "x");
	MUST(chmod, ".", 0777);
	MUST(setgroups, 1, groups);
	MUST(setresgid, 1001, 1001, 1001);
	MUST(setresuid, 1000, 1000, 1000);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	put("mine", "x");
	capabilities();
	SHOW(unshare, CLONE_NEWUSER);
	MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
	ids("without maps");
	capabilities();
	SHOW(setuid, 0);
	SHOW(setuid, 65534);
	MUST(stat, "mine", &status);
	print("mine: %u %u\n", status.st_uid, status.st_gid);
	cat("/proc/self/setgroups");
	cat("/proc/self/uid_map");
	PUT("/proc/self/uid_map", "0 1000");
	PUT("/proc/self/uid_map", "0 1000 x");
	PUT("/proc/self/uid_map", "0 1000 0");
	PUT("/proc/self/uid_map", "0 1000 2");
	PUT("/proc/self/uid_map", "0 1001 1");
	PUT("/proc/self/uid_map", "0 4294967295 1");
	PUT("/proc/self/uid_map", "0 1000 1\n1 1000 1");
	PUT("/proc/self/uid_map", "0 1000 1\n1 1001 1");
	PUT("/proc/self/gid_map", "0 1001 1");
	PUT("/proc/self/setgroups", "maybe");
	PUT("/proc/self/setgroups", "deny");
	PUT("/proc/self/setgroups", "allow");
	cat("/proc/self/setgroups");
	PUT("/proc/self/uid_map", "0 1000 1\n");
	PUT("/proc/self/uid_map", "0 1000 1\n");
	PUT("/proc/self/gid_map", "0 1001 1");
	PUT("/proc/self/setgroups", "deny");
	ids("with maps");
	cat("/proc/self/uid_map");
	cat("/proc/self/gid_map");
	SHOW(setgroups, 0, NULL);
	SHOW(setuid, 0);
	SHOW(setuid, 1000);
	SHOW(setresuid, 5, -1, -1);
	SHOW(setfsuid, 5);
	MUST(stat, "mine", &status);
	print("mine: %u %u\n", status.st_uid, status.st_gid);
	MUST(stat, "of_root", &status);
	print("of_root: %u %u\n", status.st_uid, status.st_gid);
	SHOW(chown, "mine", 0, 0);
	SHOW(chown, "mine", 1, 0);
	SHOW(chown, "of_root", 0, 0);
	SHOW(chmod, "of_root", 0600);
	SHOW(open, "of_root", O_WRONLY);
	put("made", "x");
	MUST(stat, "made", &status);
	print("made: %u %u\n", status.st_uid, status.st_gid);
	SHOW(mknod, "device", S_IFCHR | 0600, 0x103);
	SHOW(mknod, "fifo", S_IFIFO | 0600, 0);
	SHOW(settimeofday, NULL, NULL);
	SHOW(setpriority, 0, 0, -5);
	SHOW(chroot, ".");
	return 0;
}
