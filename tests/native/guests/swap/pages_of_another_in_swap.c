/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process_madvise(2) sends another process's pages to swap; process_vm_readv(2) and /proc/PID/mem bring them back. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

int main(void)
{
	char *p = fresh(4);
	struct iovec there = { p, 4 * PAGE }, one = { p + PAGE, 1 }, here;
	int ends[2], back[2], pidfd, fd;
	char byte, name[32] = "/proc/";
	long child;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	MUST(pipe2, ends, 0);
	MUST(pipe2, back, 0);
	child = MUST(fork);
	if (!child) {
		touch(p, 4);
		MUST(write, back[1], "r", 1);
		MUST(read, ends[0], &byte, 1);
		print("%d %d\n", look(p), look(p + 3 * PAGE));
		leave(0);
	}
	MUST(read, back[0], &byte, 1);
	pidfd = MUST(pidfd_open, child, 0);
	SHOW(process_madvise, pidfd, &there, 1, MADV_PAGEOUT_, 0);
	here.iov_base = &byte;
	here.iov_len = 1;
	SHOW(process_vm_readv, child, &here, 1, &one, 1, 0);
	print("%d\n", byte);
	int n = 6, digits = 0;
	char number[12];
	for (long rest = child; rest; rest /= 10)
		number[digits++] = '0' + rest % 10;
	while (digits)
		name[n++] = number[--digits];
	memcpy(name + n, "/mem", 5);
	fd = MUST(open, name, O_RDWR);
	MUST(pwrite64, fd, "w", 1, (long)p);
	MUST(pread64, fd, &byte, 1, (long)p + 2 * PAGE);
	print("%d\n", byte);
	MUST(write, ends[1], "g", 1);
	reap(child);
	swap_end();
	return 0;
}
