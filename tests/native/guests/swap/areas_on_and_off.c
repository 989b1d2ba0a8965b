/* SPDX-License-Identifier: GPL-2.0-or-later */
/* swapon(2) and swapoff(2): which files can be areas, priorities, /proc/swaps, and what nobody may do to an area. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static void what_is_none(void)
{
	int fd;

	SHOW(swapon, "a", -1);
	SHOW(swapon, "nope", 0);
	SHOW(swapon, NULL, 0);
	SHOW(swapon, "/dev/null", 0);
	SHOW(swapon, "/tmp", 0);
	SHOW(swapon, "/proc/version", 0);
	fd = MUST(open, "h", O_RDWR | O_CREAT, 0600);
	MUST(ftruncate, fd, 64 * PAGE);
	print("of holes: ");
	SHOW(swapon, "h", 0);
	MUST(pwrite64, fd, swap_page, PAGE, 0);
	print("a header, and holes: ");
	SHOW(swapon, "h", 0);
	make_area("s", 10, 63);
	print("too short: ");
	SHOW(swapon, "s", 0);
	make_area("s", 10, 0);
	print("empty: ");
	SHOW(swapon, "s", 0);
	make_area("s", 10, 1);
	SHOW(swapon, "s", 0);
	show_swaps();
	SHOW(swapoff, "s");
	make_area("s", 10, 5);
	SHOW(swapon, "s", 0);
	show_swaps();
	SHOW(swapoff, "s");
	SHOW(swapoff, "a");
	SHOW(swapoff, "nope");
	SHOW(swapoff, "/dev/null");
	SHOW(swapoff, NULL);
	make_area("/dev/shm/unimmu-swap", 16, 15);
	print("on a tmpfs: ");
	SHOW(swapon, "/dev/shm/unimmu-swap", 0);
	MUST(unlink, "/dev/shm/unimmu-swap");
}

static void what_nobody_may(void)
{
	char byte;
	int fd = MUST(open, "a", O_RDWR);

	SHOW(write, fd, "x", 1);
	SHOW(pwrite64, fd, "x", 1, 100000000);
	SHOW(ftruncate, fd, 0);
	SHOW(ftruncate, fd, 64 * PAGE);
	SHOW(ftruncate, fd, 65 * PAGE);
	SHOW(truncate, "a", 1);
	SHOW(fallocate, fd, 0, 0, PAGE);
	SHOW(open, "a", O_RDWR | O_TRUNC);
	SHOW(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0);
	DO(mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	DO(mmap, 0, PAGE, RW, MAP_PRIVATE, fd, 0);
	SHOW(unlink, "a");
	SHOW(rename, "a", "z");
	SHOW(rename, "s", "a");
	SHOW(link, "a", "y");
	SHOW(read, fd, &byte, 1);
	SHOW(chmod, "a", 0644);
	SHOW(rmdir, "a");
	MUST(close, fd);
}

int main(void)
{
	swap_begin();
	make_area("a", 64, 63);
	make_area("b", 64, 63);
	make_area("c d", 32, 31);
	what_is_none();
	SHOW(swapon, "a", 0);
	SHOW(swapon, "a", 0);
	SHOW(swapon, "b", 0);
	SHOW(swapon, "c d", PREFER | 7);
	show_swaps();
	what_nobody_may();
	SHOW(swapoff, "a");
	show_swaps();
	SHOW(swapoff, "b");
	show_swaps();
	SHOW(swapoff, "c d");
	show_swaps();
	SHOW(swapon, "b", 0x70000 | PREFER | 0x7fff);
	show_swaps();
	SHOW(swapoff, "b");
	SHOW(swapon, "b", 0x80000);
	long child = MUST(fork);
	if (!child) {
		become(1000);
		SHOW(swapon, "b", 0);
		SHOW(swapoff, "b");
		SHOW(swapon, "b", -1);
		SHOW(swapon, NULL, 0);
		SHOW(swapoff, NULL);
		leave(0);
	}
	reap(child);
	swap_end();
	return 0;
}
