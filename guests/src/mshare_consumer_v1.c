/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_consumer_v1: the consumer of the worked example of the first series; run
 * it after mshare_donor_v1. The region's file tells where the region is.
 *
 * Different from the posted program: the file is opened below the root of
 * msharefs (the posted path was relative to it); the count of what was read is
 * compared after it was assigned; and the region is unlinked once for this
 * process and once for the donor, which has not done it.
 *
 * Prints:
 *   consumer: the region has 1 unit at 0x20000000000
 *   consumer: mshare: ok
 *   consumer: "Some random shared text"
 *   consumer: unlink: ok
 *   consumer: load after that: (nothing is mapped)
 *   consumer: unlink for the donor: ok
 *   consumer: unlink once more: EINVAL
 *   consumer: open after unlink: ENOENT
 */
#include "mshare_example.h"

int main(int argc, char **argv, char **envp)
{
	u64 unit = must(number_in_file(MSHARE_SYSCTL), "read " MSHARE_SYSCTL);
	struct mshare_info info;
	u8 present;
	int fd;

	(void)argc, (void)argv, (void)envp;
	fd = must(sys_open(REGION, O_RDONLY, 0), "open " REGION);
	if (must(sys_read(fd, &info, sizeof(info)), "read " REGION) != sizeof(info))
		die("the file is too short", EINVAL);
	sys_close(fd);
	print("consumer: the region has %lu unit at 0x%lx\n", info.size / unit, info.start);

	print("consumer: mshare: %s\n",
	      result_name(must(sys_mshare(NAME, info.start, info.size, O_RDWR, 0600), "mshare")));
	print("consumer: \"%s\"\n", (char *)info.start);

	print("consumer: unlink: %s\n", result_name(sys_mshare_unlink(NAME)));
	if (syscall3(27 /* mincore */, info.start, PAGE_SIZE, (u64)&present) == -ENOMEM)
		print("consumer: load after that: (nothing is mapped)\n");
	print("consumer: unlink for the donor: %s\n", result_name(sys_mshare_unlink(NAME)));
	print("consumer: unlink once more: %s\n", result_name(sys_mshare_unlink(NAME)));
	print("consumer: open after unlink: %s\n", result_name(sys_open(REGION, O_RDONLY, 0)));
	return 0;
}
