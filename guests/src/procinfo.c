/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * procinfo: what /proc says about the process that reads it, as far as it is the
 * same in every run: maps, status, smaps and pagemap.
 *
 * Prints:
 *   maps: main is in r-xp procinfo
 *   maps: a variable is in rw-p procinfo
 *   maps: the stack is in rw-p [stack]
 *   maps: 12 kB of brk are in rw-p [heap]
 *   status: Name is procinfo
 *   status: Pid is getpid(): ok
 *   status: VmPTE is more than 0 kB: ok
 *   smaps: Size 20 kB, Rss 12 kB
 *   pagemap: present 1 0 1 1 0
 *   maps: after munmap it is gone: ok
 */
#include "guest.h"

static char text[65536]; /* the file that was read last */
static int variable = 1;

static void read_file(const char *path)
{
	size_t used = 0;
	int fd = must(sys_open(path, O_RDONLY, 0), path);
	long n;

	while ((n = must(sys_read(fd, text + used, sizeof(text) - 1 - used), path)) > 0)
		used += n;
	sys_close(fd);
	text[used] = 0;
}

/* The line after this one, or NULL. */
static char *next_line(char *line)
{
	while (*line && *line != '\n')
		line++;
	return *line && line[1] ? line + 1 : NULL;
}

/* Copies a line, without its end. */
static void copy_line(char *to, size_t size, const char *line)
{
	while (--size && *line && *line != '\n')
		*to++ = *line++;
	*to = 0;
}

/* Reads a hexadecimal number and steps over it and the character behind it. */
static u64 hexadecimal(char **p)
{
	u64 value = 0;

	for (;; (*p)++) {
		char c = **p;

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else
			break;
	}
	(*p)++;
	return value;
}

struct mapping {
	u64 start, end;
	char line[256]; /* "r-xp 00001000 ..." : what follows the addresses */
	char perms[5];
	const char *name;
	char *rest; /* of the file, from the next line on */
};

/* Finds the mapping that holds `address` in the file read last, maps or smaps. */
static int find_mapping(u64 address, struct mapping *found)
{
	for (char *line = text; line; line = next_line(line)) {
		char *p = line;

		found->start = hexadecimal(&p);
		if (p[-1] != '-')
			continue; /* a line of smaps that is no header */
		found->end = hexadecimal(&p);
		if (address < found->start || address >= found->end)
			continue;
		copy_line(found->line, sizeof(found->line), p);
		memcpy(found->perms, found->line, 4);
		found->perms[4] = 0;
		found->name = found->line;
		for (const char *c = found->line; *c; c++)
			if (*c == ' ' || *c == '/')
				found->name = c + 1;
		found->rest = next_line(line);
		return 1;
	}
	return 0;
}

/* The number behind "Key:" in the lines from `line` on, in decimal; -1 if there is none. */
static long field(char *line, const char *key)
{
	for (; line; line = next_line(line)) {
		long value = 0;
		char *p = line + strlen(key);

		if (!starts_with(line, key))
			continue;
		while (*p == ' ' || *p == '\t')
			p++;
		for (; *p >= '0' && *p <= '9'; p++)
			value = value * 10 + (*p - '0');
		return value;
	}
	return -1;
}

static void show_mapping(const char *what, u64 address)
{
	struct mapping mapping;

	if (find_mapping(address, &mapping))
		print("maps: %s in %s %s\n", what, mapping.perms, mapping.name);
	else
		print("maps: %s nowhere: WRONG\n", what);
}

static void show_maps(void)
{
	u64 heap = sys_brk(0);
	struct mapping mapping;
	int local = 0;

	must(sys_brk(heap + 3 * PAGE_SIZE) == heap + 3 * PAGE_SIZE ? 0 : -ENOMEM, "brk");
	read_file("/proc/self/maps");
	show_mapping("main is", (u64)main);
	show_mapping("a variable is", (u64)&variable);
	show_mapping("the stack is", (u64)&local);
	if (find_mapping(heap, &mapping))
		print("maps: %lu kB of brk are in %s %s\n", (mapping.end - heap) / 1024, mapping.perms,
		      mapping.name);
}

static void show_status(void)
{
	char name[64] = "none";

	read_file("/proc/self/status");
	for (char *line = text; line; line = next_line(line))
		if (starts_with(line, "Name:\t"))
			copy_line(name, sizeof(name), line + strlen("Name:\t"));
	print("status: Name is %s\n", name);
	check("status: Pid is getpid()", field(text, "Pid:") == sys_getpid());
	check("status: VmPTE is more than 0 kB", field(text, "VmPTE:") > 0);
}

/* Five pages, of which the first, third and fourth are touched. */
static void show_pages(void)
{
	/* Two pages more, without access, so that the five do not join a neighbour's line. */
	u64 guard = must(sys_mmap(0, 7 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
	u64 start = guard + PAGE_SIZE;
	u64 entries[5] = { 0 };
	struct mapping mapping;
	int fd;

	must(sys_mprotect(start, 5 * PAGE_SIZE, PROT_READ | PROT_WRITE), "mprotect");
	for (u64 page = 0; page < 5; page++)
		if (page != 1 && page != 4)
			*(volatile u8 *)(start + page * PAGE_SIZE) = 1;

	read_file("/proc/self/smaps");
	if (find_mapping(start, &mapping))
		print("smaps: Size %ld kB, Rss %ld kB\n", field(mapping.rest, "Size:"),
		      field(mapping.rest, "Rss:"));

	fd = must(sys_open("/proc/self/pagemap", O_RDONLY, 0), "open /proc/self/pagemap");
	must(sys_pread(fd, entries, sizeof(entries), start / PAGE_SIZE * sizeof(u64)), "pread of pagemap");
	sys_close(fd);
	print("pagemap: present %lu %lu %lu %lu %lu\n", entries[0] >> 63, entries[1] >> 63, entries[2] >> 63,
	      entries[3] >> 63, entries[4] >> 63);

	must(sys_munmap(guard, 7 * PAGE_SIZE), "munmap");
	read_file("/proc/self/maps");
	check("maps: after munmap it is gone", !find_mapping(start, &mapping));
}

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	show_maps();
	show_status();
	show_pages();
	return guest_wrong != 0;
}
