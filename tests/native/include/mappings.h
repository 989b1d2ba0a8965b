/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guests about memory need besides native.h: places where nothing is, and what /proc says of them. */
#ifndef MAPPINGS_H
#define MAPPINGS_H

#include "native.h"

#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)
#define MAP_DROPPABLE_ 0x08
#define MAP_ABOVE4G_ 0x80
#define MADV_COLD_ 20
#define MADV_PAGEOUT_ 21

/* A free gigabyte that adjoins nothing. */
UNUSED static char *area(void)
{
	static u64 next = 0x100000000000UL;

	next += 2UL << 30;
	return (char *)next;
}

/* Maps so many pages at an address. */
UNUSED static char *at(char *address, u64 pages, int prot, int flags, int fd, u64 first)
{
	return (char *)MUST(mmap, address, pages * PAGE, prot, flags | MAP_FIXED, fd, first * PAGE);
}

/* Fresh private memory in an area of its own. */
UNUSED static char *fresh(u64 pages)
{
	return at(area(), pages, RW, PRIVATE, -1, 0);
}

UNUSED static void touch(char *p, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		*(volatile char *)(p + i * PAGE) = 'A' + i;
}

UNUSED static char look(char *p)
{
	return *(volatile char *)p;
}

/* A file in memory of so many pages, each written. */
UNUSED static int file_of(u64 pages)
{
	static char page[PAGE];
	int fd = MUST(memfd_create, "file", 0);

	memset(page, 'F', PAGE);
	for (u64 i = 0; i < pages; i++)
		MUST(write, fd, page, PAGE);
	return fd;
}

/* Faults that did not wait. */
UNUSED static long faults(void)
{
	struct rusage usage;

	MUST(getrusage, RUSAGE_SELF, &usage);
	MUST(getrusage, RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Prints how many faults something takes. */
#define FAULTS(what)                                                                             \
	do {                                                                                     \
		long before = faults();                                                          \
		what;                                                                            \
		print("%s: %ld faults\n", #what, faults() - before);                             \
	} while (0)

/* Of so many pages bits 55 and up of the words in pagemap: present 0x100, of a file 0x40, of this mapping alone 2. */
UNUSED static void mapped_range(char *p, u64 pages, u64 *words)
{
	static int fd = -1;

	if (fd < 0)
		fd = MUST(open, "/proc/self/pagemap", O_RDONLY);
	MUST(pread64, fd, words, pages * 8, (u64)p / PAGE * 8);
	for (u64 i = 0; i < pages; i++)
		words[i] >>= 55;
}

UNUSED static u64 mapped(char *p)
{
	u64 word = 0;

	mapped_range(p, 1, &word);
	return word;
}

UNUSED static void show_pages(const char *what, char *p, u64 pages)
{
	u8 there;

	print("%s:", what);
	for (u64 i = 0; i < pages; i++) {
		MUST(mincore, p + i * PAGE, PAGE, &there);
		print(" %lx%s", mapped(p + i * PAGE), there ? "+" : "");
	}
	print("\n");
}

static char native_maps[1 << 16];

UNUSED static void read_all(const char *path)
{
	int fd = MUST(open, path, O_RDONLY);
	u64 used = 0;
	long n;

	while ((n = MUST(read, fd, native_maps + used, sizeof(native_maps) - 1 - used)) > 0)
		used += n;
	native_maps[used] = 0;
	MUST(close, fd);
}

UNUSED static const char *find(const char *text, const char *wanted)
{
	u64 length = strlen(wanted);

	for (; *text; text++)
		if (*text == *wanted && !memcmp(text, wanted, length))
			return text;
	return 0;
}

UNUSED static u64 number_at(const char **text, u32 base)
{
	u64 value = 0;

	for (;; (*text)++) {
		u32 digit = **text - '0';

		if (digit > 9)
			digit = base == 16 && **text >= 'a' && **text <= 'f' ? (u32)(**text - 'a' + 10) : 99;
		if (digit > 15)
			return value;
		value = value * base + digit;
	}
}

/* Prints the mappings within an area, in pages from its start: "split: 0-2 rw-p, 2-3 r--p". */
UNUSED static void show_maps(const char *what, char *p, u64 pages)
{
	const char *line, *separator = " ";

	read_all("/proc/self/maps");
	print("%s:", what);
	for (line = native_maps; *line; line++) {
		u64 low = number_at(&line, 16), high = (line++, number_at(&line, 16));

		if (low < (u64)p + pages * PAGE && high > (u64)p) {
			print("%s%ld-%ld %c%c%c%c", separator, (long)(low - (u64)p) / (long)PAGE,
			      (long)(high - (u64)p) / (long)PAGE, line[1], line[2], line[3], line[4]);
			separator = ", ";
		}
		while (*line != '\n')
			line++;
	}
	print("\n");
}

/* A number of smaps, in kB, of the mapping that begins there. */
UNUSED static long figure(char *p, const char *name)
{
	char start[20];
	const char *found;
	int n = 0;

	for (int shift = 44; shift >= 0; shift -= 4)
		if (n || (u64)p >> shift & 15)
			start[n++] = "0123456789abcdef"[(u64)p >> shift & 15];
	start[n++] = '-';
	start[n] = 0;
	read_all("/proc/self/smaps");
	found = find(native_maps, start);
	found = found ? find(found, name) : 0;
	if (!found)
		return -1;
	for (found += strlen(name); *found == ':' || *found == ' ';)
		found++;
	return number_at(&found, 10);
}

/* A number of /proc/self/status, in kB. */
UNUSED static long status(const char *name)
{
	const char *found;

	read_all("/proc/self/status");
	found = find(native_maps, name);
	if (!found)
		return -1;
	for (found += strlen(name); *found == ':' || *found == ' ' || *found == '\t';)
		found++;
	return number_at(&found, 10);
}

#endif
