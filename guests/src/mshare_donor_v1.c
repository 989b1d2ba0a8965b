/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_donor_v1: the donor of the worked example of the first series (April
 * 2022): it maps a unit at 2 TiB, makes it the region "testregion", writes a text
 * and ends. Its mapping goes then; its count of the region stays.
 *
 * Different from the posted program: the mode is an octal number (600 decimal is
 * 01130, which made the file unreadable for its owner but for the bit 0400 that
 * is always set), and the unit is read from the sysctl.
 *
 * Prints:
 *   donor: mapped 1 unit at 0x20000000000
 *   donor: mshare: ok
 *   donor: wrote "Some random shared text"
 */
#include "mshare_example.h"

int main(int argc, char **argv, char **envp)
{
	u64 unit = must(number_in_file(MSHARE_SYSCTL), "read " MSHARE_SYSCTL);
	char *memory = (char *)must(sys_mmap(MSHARE_WINDOW, unit, PROT_READ | PROT_WRITE,
					     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
				    "mmap");

	(void)argc, (void)argv, (void)envp;
	print("donor: mapped 1 unit at 0x%lx\n", (u64)memory);
	print("donor: mshare: %s\n",
	      result_name(must(sys_mshare(NAME, (u64)memory, unit, O_CREAT | O_RDWR | O_EXCL, 0600), "mshare")));
	memcpy(memory, TEXT, sizeof(TEXT));
	print("donor: wrote \"%s\"\n", memory);
	return 0;
}
