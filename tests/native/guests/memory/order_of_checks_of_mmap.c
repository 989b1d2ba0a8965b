/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which error mmap(2) gives where several would do: first length and place, then locks, then the file, then memory. */
// since: 6.11
// needs: root, proc
#include "mappings.h"

#define TOP 0x7ffffffff000UL

static void map(const char *what, u64 address, u64 size, int prot, int flags, int fd, u64 offset)
{
	print("%s: %s\n", what, result_name(SYS(mmap, address, size, prot, flags, fd, offset)));
}

int main(void)
{
	int fd = file_of(1), self = MUST(open, "/proc/self/exe", O_RDONLY), ends[2];
	char *p = area();

	MUST(pipe2, ends, 0);
	map("no kind, no length", 0, 0, RW, MAP_ANONYMOUS, -1, 0);
	map("no kind, too long", 0, 1UL << 50, RW, MAP_ANONYMOUS, -1, 0);
	map("no kind, no room", 0, TOP, RW, MAP_ANONYMOUS, -1, 0);
	map("no kind, too high, not aligned", TOP - 0x800, 2 * PAGE, RW, MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	map("no kind, not aligned", 0x10000800, PAGE, RW, MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	map("length that wraps", 0, -1UL, RW, PRIVATE, -1, 0);
	map("offset that does not matter", 0, PAGE, RW, PRIVATE, -1, -PAGE);
	map("offset that is not aligned", 0, PAGE, RW, PRIVATE, -1, 1);
	map("offset at the end of all", 0, PAGE, RW, MAP_SHARED, fd, 0x7ffffffffffff000);
	map("the same, for a right that it has not", 0, PAGE, RW, MAP_SHARED, self, 0x7ffffffffffff000);
	map("a right that it has not", 0, PAGE, RW, MAP_SHARED, self, 0);
	map("the same, no kind", 0, PAGE, RW, 0, self, 0);
	map("the same, unknown flags", 0, PAGE, RW, MAP_SHARED_VALIDATE | 0x80000000, self, 0);
	map("a file that grows down", 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, self, 0);
	map("a pipe", 0, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0);
	map("a pipe that grows down", 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, ends[0], 0);
	map("a pipe that cannot be read", 0, PAGE, PROT_READ, MAP_PRIVATE, ends[1], 0);
	map("validated, without a file", 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0);
	map("validated", 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_32BIT | MAP_ABOVE4G_, fd, 0);
	at(p, 1, RW, PRIVATE, -1, 0);
	map("what is there, no kind", (u64)p, PAGE, RW, MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	struct rlimit lock = { 0, 0 }, space = { 1 << 20, 1 << 20 };
	MUST(setresuid, 1000, 1000, 1000);
	MUST(setrlimit, RLIMIT_MEMLOCK, &lock);
	map("no lock, no kind", 0, PAGE, RW, MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	map("no lock, a right that it has not", 0, PAGE, RW, MAP_SHARED | MAP_LOCKED, self, 0);
	MUST(setrlimit, RLIMIT_AS, &space);
	map("no space, no kind", 0, 2 << 20, RW, MAP_ANONYMOUS, -1, 0);
	map("no space", 0, 2 << 20, RW, PRIVATE, -1, 0);
	return 0;
}
