/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_donor_v2: the donor of the worked example of the second series (June
 * 2022). It makes a file, and the first mmap fixes the region: two units at four
 * times the unit. All of it is memory at once. The donor writes a text and ends.
 *
 * Different from the posted program: the mapping is of the file (the author
 * said that MAP_ANONYMOUS and descriptor 0 were a slip), and the unit is read as
 * a 64-bit number (atoi() makes 0 of 549755813888).
 *
 * Prints:
 *   donor: before the first mmap: start 0, size 0
 *   donor: mapped 2 units at 4 units
 *   donor: wrote "Some random shared text"
 */
#include "mshare_example.h"

int main(int argc, char **argv, char **envp)
{
	u64 unit = mshare_unit();
	struct mshare_info info;
	char *memory;
	int fd;

	(void)argc, (void)argv, (void)envp;
	fd = must(sys_open(REGION, O_RDWR | O_CREAT | O_EXCL, 0600), "create " REGION);
	must(sys_read(fd, &info, sizeof(info)), "read " REGION);
	print("donor: before the first mmap: start %lu, size %lu\n", info.start, info.size);

	memory = map_region(fd, EXAMPLE_START(unit), EXAMPLE_SIZE(unit));
	must(sys_read(fd, &info, sizeof(info)), "read " REGION);
	print("donor: mapped %lu units at %lu units\n", info.size / unit, info.start / unit);
	memcpy(memory, TEXT, sizeof(TEXT));
	print("donor: wrote \"%s\"\n", memory);
	return 0;
}
