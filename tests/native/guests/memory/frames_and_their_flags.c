/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* /proc/kpagecount and /proc/kpageflags of the frames behind pages, and the smaps of files' pages. */
#include "pages.h"

/* Dirty, mapped, anonymous, the zero page. */
#define SHOWN (1UL << 4 | 1UL << 11 | 1UL << 12 | 1UL << 24)

static int count, flags;

static void frame(const char *what, char *p)
{
	u64 frame = pagemap_word(p) & ((1UL << 55) - 1), n = 99, bits = 0;
	MUST(pread64, count, &n, 8, frame * 8);
	MUST(pread64, flags, &bits, 8, frame * 8);
	print("%s: %ld times, flags %lx\n", what, n, bits & SHOWN);
}

/* A figure of a mapping in kB. */
static void figures(const char *what, char *p)
{
	static const char *const names[] = { "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean",
					     "Private_Dirty", "Referenced", "Anonymous", "LazyFree", "Locked" };
	char start[20];
	int digits = 0;
	for (u64 rest = (u64)p; rest; rest >>= 4)
		digits++;
	for (int i = 0; i < digits; i++)
		start[i] = "0123456789abcdef"[(u64)p >> 4 * (digits - 1 - i) & 15];
	slurp("/proc/self/smaps");
	char *c = pages_text;
	while (*c && memcmp(c, start, digits)) {
		while (*c && *c++ != '\n')
			;
	}
	print("%s:", what);
	for (u32 n = 0; n < COUNT(names) && *c;) {
		while (*c && *c++ != '\n')
			;
		if (memcmp(c, names[n], strlen(names[n])) || c[strlen(names[n])] != ':')
			continue;
		long value = 0;
		for (char *d = c; *d != '\n'; d++)
			if (*d >= '0' && *d <= '9')
				value = value * 10 + *d - '0';
		print(" %s %ld", names[n++], value);
	}
	print("\n");
}

int main(void)
{
	pages_begin();
	count = MUST(open, "/proc/kpagecount", O_RDONLY);
	flags = MUST(open, "/proc/kpageflags", O_RDONLY);
	char *p = anonymous(8 * PAGE, MAP_PRIVATE), buffer[4] = "x";
	MUST(madvise, p, 8 * PAGE, MADV_NOHUGEPAGE);
	p[0] = 1;
	read_byte(p + PAGE);
	frame("private", p);
	frame("zero", p + PAGE);
	MUST(mprotect, p, PAGE, PROT_NONE);
	frame("without rights", p);
	MUST(mprotect, p, PAGE, PROT_READ | PROT_WRITE);
	figures("private", p);
	int fd = MUST(memfd_create, "m", 0);
	for (int i = 0; i < 4; i++)
		MUST(pwrite64, fd, buffer, 1, i * PAGE);
	char *s = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(ftruncate, fd, 8 * PAGE);
	read_byte(s);
	figures("written by write(2), read", s);
	read_byte(s + 5 * PAGE);
	frame("written", s);
	frame("a hole", s + 5 * PAGE);
	figures("with a hole", s);
	write_byte(s + 5 * PAGE, 1);
	figures("written", s);
	char *v = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	read_byte(v);
	frame("twice", s);
	figures("twice", s);
	write_byte(v, 1);
	frame("a copy", v);
	figures("a copy", v);
	MUST(munmap, s, 8 * PAGE);
	figures("what it wrote", v);
	int holes = MUST(memfd_create, "h", 0);
	MUST(fallocate, holes, 0, 0, 4 * PAGE);
	char *h = (void *)MUST(mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, holes, 0);
	read_byte(h);
	figures("allocated", h);
	u64 words[2];
	SHOW(pread64, count, words, 4, 0);
	SHOW(pread64, flags, words, 8, 4);
	SHOW(pread64, flags, words, 16, 0);
	return 0;
}
