/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_donor_ioctl: the donor of the worked example of September 2024 and
 * January 2025. It makes a file, gives it a range with one ioctl and fills that
 * with zero pages by another; then it maps the region, writes a text and ends.
 *
 * Different from the posted program: the unit is read as a 64-bit number.
 *
 * Prints:
 *   donor: before MSHAREFS_SET_SIZE: start 0, size 0
 *   donor: the region has 2 units at 4 units
 *   donor: wrote "Some random shared text"
 */
#include "mshare_example.h"

int main(int argc, char **argv, char **envp)
{
	u64 unit = mshare_unit();
	struct mshare_info range = { EXAMPLE_START(unit), EXAMPLE_SIZE(unit) }, info;
	struct mshare_create object = {
		.region_offset = range.start, /* an address, in these postings */
		.size = range.size,
		.prot = PROT_READ | PROT_WRITE,
		/* Without MAP_NORESERVE so much memory would not be granted at once. */
		.flags = MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		.fd = MSHARE_NO_FD,
	};
	char *memory;
	int fd;

	(void)argc, (void)argv, (void)envp;
	fd = must(sys_open(REGION, O_RDWR | O_CREAT | O_EXCL, 0600), "create " REGION);
	must(sys_ioctl(fd, MSHAREFS_GET_SIZE, &info), "MSHAREFS_GET_SIZE");
	print("donor: before MSHAREFS_SET_SIZE: start %lu, size %lu\n", info.start, info.size);

	must(sys_ioctl(fd, MSHAREFS_SET_SIZE, &range), "MSHAREFS_SET_SIZE");
	must(sys_ioctl(fd, MSHAREFS_CREATE_AT, &object), "MSHAREFS_CREATE_MAPPING");
	must(sys_ioctl(fd, MSHAREFS_GET_SIZE, &info), "MSHAREFS_GET_SIZE");
	print("donor: the region has %lu units at %lu units\n", info.size / unit, info.start / unit);

	memory = map_region(fd, info.start, info.size);
	memcpy(memory, TEXT, sizeof(TEXT));
	print("donor: wrote \"%s\"\n", memory);
	return 0;
}
