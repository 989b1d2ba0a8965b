/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.11
// needs: proc
/* PROCMAP_QUERY: one mapping as binary data, by address and by what it must be. */
#pragma GCC diagnostic ignored "-Woverride-init" /* TRY() has defaults */
#include <sys/ioctl.h>

#include "pages.h"

struct query {
	u64 size, flags, addr, start, end, vma_flags, page_size, offset, inode;
	u32 major, minor, name_size, id_size;
	u64 name, id;
};
#define QUERY _IOWR('f', 17, struct query)

static int fd;
static char *base, name[256];

static void ask(const char *what, struct query *q)
{
	memset(name, 0, sizeof(name));
	long r = SYS(ioctl, fd, QUERY, q);
	print("%s: %s", what, result_name(r));
	if (!failed(r))
		print(" +%ld +%ld flags %lx page %lx offset %lx inode %d name %s id %d", (long)(q->start - (u64)base) / 4096,
		      (long)(q->end - (u64)base) / 4096, q->vma_flags, q->page_size, q->offset, q->inode != 0, 
		      same(name, "/dev/zero (deleted)") || name[0] == '[' ? name : *name ? "(path)" : "", q->id_size);
	print("\n");
}

#define TRY(...)                                                                                  \
	do {                                                                                      \
		struct query q = { .size = sizeof(q), .addr = (u64)base, __VA_ARGS__ };             \
		ask(#__VA_ARGS__, &q);                                                            \
	} while (0)
#define AT(n) .addr = (u64)base + (n) * PAGE

int main(void)
{
	base = (void *)MUST(mmap, 0x100000000, 32 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	put("file", "x");
	int file = MUST(open, "file", O_RDWR);
	MUST(mmap, base + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 3 * PAGE);
	MUST(mmap, base + 20 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MUST(munmap, base + 16 * PAGE, 2 * PAGE);
	MUST(mprotect, base + 4 * PAGE, PAGE, PROT_NONE);
	fd = MUST(open, "/proc/self/maps", O_RDONLY);
	TRY(AT(0));
	TRY(AT(4));
	TRY(AT(5), .name_size = 256, .name = (u64)name);
	TRY(AT(9), .name_size = 256, .name = (u64)name);
	TRY(AT(21), .name_size = 256, .name = (u64)name);
	TRY(AT(21), .name_size = 20, .name = (u64)name);
	TRY(AT(21), .name_size = 19, .name = (u64)name);
	TRY(AT(9), .id_size = 20, .id = (u64)name);
	TRY(AT(16));
	TRY(AT(16), .flags = 0x10);
	TRY(AT(16), .flags = 0x30);
	TRY(AT(12), .flags = 0x30);
	TRY(AT(0), .flags = 0x20);
	TRY(AT(0), .flags = 4);
	TRY(AT(0), .flags = 0x14);
	TRY(AT(0), .flags = 0x18);
	TRY(AT(4), .flags = 1);
	TRY(AT(4), .flags = 0x11);
	TRY(AT(4), .flags = 0x12);
	TRY(AT(21), .flags = 9);
	TRY(AT(21), .flags = 0x2b);
	TRY(.addr = 1UL << 47);
	TRY(.addr = -PAGE);
	TRY(.addr = 0xffffffffff600000);
	TRY(.flags = 0x40);
	TRY(.name_size = 256);
	TRY(.name = (u64)name);
	TRY(.id_size = 20);
	TRY(.name_size = 256, .name = 16);
	TRY(AT(21), .name_size = 256, .name = 16);
	TRY(.size = 0);
	TRY(.size = 23);
	TRY(.size = 24);
	TRY(.size = 48);
	TRY(.size = 5000);
	u64 large[16] = { sizeof(large), 0, (u64)base };
	SHOW(ioctl, fd, QUERY, large);
	large[15] = 1;
	SHOW(ioctl, fd, QUERY, large);
	SHOW(ioctl, fd, QUERY, NOWHERE);
	SHOW(ioctl, fd, QUERY + 1, large);
	SHOW(ioctl, MUST(open, "/proc/self/smaps", O_RDONLY), QUERY, NOWHERE);

	u64 stack;
	struct query q = { .size = sizeof(q), .addr = (u64)&stack, .name_size = 256, .name = (u64)name };
	SHOW(ioctl, fd, QUERY, &q);
	print("%s %lx\n", name, q.vma_flags);
	return 0;
}
