/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_three_ways: one file is an object in two regions and mapped plainly
 * besides. Every byte written one way is seen the other ways, and by pread();
 * when the file is cut, no way shows it any more.
 *
 * Prints:
 *   file_three_ways: written plainly: ok
 *   file_three_ways: written through the first region: ok
 *   file_three_ways: written through the second region: ok
 *   file_three_ways: pread: ok
 *   file_three_ways: first region after the cut: killed by SIGBUS
 *   file_three_ways: second region after the cut: killed by SIGBUS
 *   file_three_ways: plain mapping after the cut: killed by SIGBUS
 */
#include "mshare.h"

static volatile u64 *way[3];

static void touch_in_a_child(const char *what, volatile u64 *at)
{
	long child = must(sys_fork(), "fork");
	int status;

	if (!child)
		sys_exit_group((int)*at);
	status = wait_for(child);
	if (killed_by(status))
		print("file_three_ways: %s after the cut: killed by %s\n", what, signal_name(killed_by(status)));
	else
		print("file_three_ways: %s after the cut: still readable\n", what);
}

int main(int argc, char **argv, char **envp)
{
	int file = scratch_file(), first, second;
	u64 value = 0;

	(void)argc, (void)argv, (void)envp;
	must(sys_ftruncate(file, 2 * PAGE_SIZE), "ftruncate");
	first = mshare_region(MSHARE_ROOT "first", 2 * PAGE_SIZE, file);
	second = mshare_region(MSHARE_ROOT "second", 2 * PAGE_SIZE, file);
	way[0] = (volatile u64 *)must(sys_mmap(0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), "mmap");
	way[1] = mshare_window(first, MSHARE_WINDOW);
	way[2] = mshare_window(second, 2 * MSHARE_WINDOW);

	way[0][0] = 1;
	check("file_three_ways: written plainly", way[1][0] == 1 && way[2][0] == 1);
	way[1][512] = 2;
	check("file_three_ways: written through the first region", way[0][512] == 2 && way[2][512] == 2);
	way[2][1] = 3;
	check("file_three_ways: written through the second region", way[0][1] == 3 && way[1][1] == 3);
	must(sys_pread(file, &value, sizeof(value), 8), "pread");
	check("file_three_ways: pread", value == 3);

	must(sys_ftruncate(file, PAGE_SIZE), "ftruncate");
	touch_in_a_child("first region", way[1] + 512);
	touch_in_a_child("second region", way[2] + 512);
	touch_in_a_child("plain mapping", way[0] + 512);
	must(sys_unlink(MSHARE_ROOT "first"), "unlink");
	must(sys_unlink(MSHARE_ROOT "second"), "unlink");
	return guest_wrong != 0;
}
