/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring_setup(2): sizes, flags, and where everything is. */
// since: 6.18
#include "native.h"
#include "uring.h"

static void with(u32 entries, u32 flags, u32 cq)
{
	struct io_uring_params p = { 0 };
	p.flags = flags;
	p.cq_entries = cq;
	long fd = SYS(io_uring_setup, entries, &p);
	print("%u %x %u: %s %u %u, array %u, cqes %u\n", entries, flags, cq, result_name(fd), fd < 0 ? 0 : p.sq_entries,
	      fd < 0 ? 0 : p.cq_entries, p.sq_off.array, p.cq_off.cqes);
	if (fd >= 0)
		MUST(close, fd);
}

int main(void)
{
	struct io_uring_params p = { 0 };
	int fd = MUST(io_uring_setup, 5, &p);
	print("%u %u %u %u %u %u %u\n", p.sq_off.head, p.sq_off.tail, p.sq_off.ring_mask, p.sq_off.ring_entries,
	      p.sq_off.flags, p.sq_off.dropped, p.sq_off.array);
	print("%u %u %u %u %u %u %u\n", p.cq_off.head, p.cq_off.tail, p.cq_off.ring_mask, p.cq_off.ring_entries,
	      p.cq_off.overflow, p.cq_off.cqes, p.cq_off.flags);
	print("features %x\n", p.features & 0x9bff);
	SHOW(fcntl, fd, F_GETFD);
	with(0, 0, 0);
	with(1, 0, 0);
	with(32768, 0, 0);
	with(32769, 0, 0);
	with(40000, 16, 0);
	with(8, 8, 9);
	with(8, 8, 4);
	with(8, 8, 0);
	with(8, 8, 100000);
	with(8, 8 | 16, 100000);
	with(8, 4, 0);
	with(8, 2 | 0x100, 0);
	with(8, 0x200, 0);
	with(8, 0x300, 0);
	with(8, 0x2000, 0);
	with(8, 0x3000, 0);
	with(8, 0x10000, 0);
	with(8, 0x800, 0);
	with(8, 0x400, 0);
	with(8, 0x8000, 0);
	with(8, 1U << 31, 0);
	SHOW(io_uring_setup, 1, NULL);
	p.resv[1] = 1;
	SHOW(io_uring_setup, 1, &p);
	DO(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	DO(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x8000000);
	DO(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x10000000);
	DO(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x18000000);
	DO(mmap, 0x10000000, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u32 *one = (u32 *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u32 *other = (u32 *)MUST(mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0x8000000);
	one[p.cq_off.head / 4] = 77;
	print("%u\n", other[p.cq_off.head / 4]);
	SHOW(read, fd, &p, 8);
	SHOW(write, fd, &p, 8);
	SHOW(lseek, fd, 0, 0);
	SHOW(io_uring_enter, fd, 0, 0, 0x100, NULL, 0);
	SHOW(io_uring_enter, fd, 0, 0, 0x10, NULL, 0);
	SHOW(io_uring_enter, 0, 0, 0, 0, NULL, 0);
	SHOW(io_uring_enter, 99, 0, 0, 0, NULL, 0);
	SHOW(io_uring_enter, fd, 0, 0, 0, NULL, 0);
	SHOW(io_uring_enter, fd, 1, 0, 0, NULL, 0);
	SHOW(io_uring_enter, fd, 0, 0, 9, NULL, 0);
	SHOW(io_uring_enter, fd, 0, 0, 9, NULL, 24);
	SHOW(io_uring_register, fd, 1000, NULL, 0);
	SHOW(io_uring_register, 0, 8, NULL, 0);
	SHOW(io_uring_register, 99, 8, NULL, 0);
	return 0;
}
