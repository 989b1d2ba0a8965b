/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and numbers of a tmpfs: octal, beyond a word, negative, and none at all. */
// needs: root
#include "native.h"
#include <sys/mount.h>
#include <sys/statfs.h>

static void try_option(char *option, int shows)
{
	struct statfs fs = { 0 };
	long got = SYS(mount, "x", "dir", "tmpfs", 0, option);

	print("%s: ", option);
	show("mount", got);
	if (got)
		return;
	SYS(statfs, "dir", &fs);
	if (shows == 1)
		print("  %lu blocks\n", (unsigned long)fs.f_blocks);
	if (shows == 2)
		print("  %lu inodes\n", (unsigned long)fs.f_files);
	MUST(umount2, "dir", 0);
}

int main(void)
{
	char *sizes[] = { "size=-1", "size=-5m", "size=1_0", "size=0b11", "size=0o7", "size=010", "size=0x10k", "size=089",
			  "size=16e", "size=9223372036854775808", "size=-50%", "size=50%x", "nr_blocks=-1", "nr_blocks=010",
			  "nr_blocks=9223372036854775808", "nr_blocks=16e", "nr_blocks=4294967296", "nr_blocks=50%" };
	char *inodes[] = { "nr_inodes=-1", "nr_inodes=010", "nr_inodes=16e", "nr_inodes=4294967296",
			   "nr_inodes=18446744073709551615", "nr_inodes=50%" };
	char *others[] = { "uid=-1", "uid=0", "uid=4294967295", "uid=4294967296", "gid=1_0", "mode=-1", "mode=0o7", "mode=010",
			   "mode=1_0", "mode=9" };

	MUST(mkdir, "dir", 0755);
	for (u32 i = 0; i < COUNT(sizes); i++)
		try_option(sizes[i], 1);
	for (u32 i = 0; i < COUNT(inodes); i++)
		try_option(inodes[i], 2);
	for (u32 i = 0; i < COUNT(others); i++)
		try_option(others[i], 0);
	return 0;
}
