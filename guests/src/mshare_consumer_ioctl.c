/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_consumer_ioctl: the consumer of the worked example of September 2024 and
 * January 2025; run it after mshare_donor_ioctl.
 *
 * Different from the posted program: the file is open for writing too, or mmap
 * with PROT_WRITE and MAP_SHARED would be EACCES.
 *
 * Prints:
 *   consumer: the region has 2 units at 4 units
 *   consumer: "Some random shared text"
 *   consumer: unlink: ok
 *   consumer: open after unlink: ENOENT
 */
#include "mshare_example.h"

int main(int argc, char **argv, char **envp)
{
	u64 unit = mshare_unit();
	struct mshare_info info;
	int fd;

	(void)argc, (void)argv, (void)envp;
	fd = must(sys_open(REGION, O_RDWR, 0), "open " REGION);
	must(sys_ioctl(fd, MSHAREFS_GET_SIZE, &info), "MSHAREFS_GET_SIZE");
	if (!info.start)
		die("the region has no range yet", EINVAL);
	print("consumer: the region has %lu units at %lu units\n", info.size / unit, info.start / unit);
	print("consumer: \"%s\"\n", map_region(fd, info.start, info.size));
	remove_region();
	return 0;
}
