/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_consumer_v2: the consumer of the worked example of the second series;
 * run it after mshare_donor_v2. The file tells the range, which it must map as
 * it is.
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
	if (must(sys_read(fd, &info, sizeof(info)), "read " REGION) != sizeof(info) || !info.size)
		die("the region has no range yet", EINVAL);
	print("consumer: the region has %lu units at %lu units\n", info.size / unit, info.start / unit);
	print("consumer: \"%s\"\n", map_region(fd, info.start, info.size));
	remove_region();
	return 0;
}
