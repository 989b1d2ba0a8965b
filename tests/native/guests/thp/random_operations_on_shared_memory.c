/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* Calls by chance on two mappings of a memfd with huge pages, one shared and one private; after each, what /proc says. */
#include "pages.h"
#define show_pages show_mapped
#include "thp.h"

#define HUGES 3
#define ALL (HUGES * HUGE)
#ifndef STEPS
#define STEPS 30
#endif

static char *shared, *private;
static int fd;
static long before;

static void see_one(const char *what, char *base)
{
	static u64 words[ALL];
	static int pagemap = -1;

	if (pagemap < 0)
		pagemap = MUST(open, "/proc/self/pagemap", O_RDONLY);
	MUST(pread64, pagemap, words, ALL * 8, (u64)base / PAGE * 8);
	print("  %s", what);
	for (u64 i = 0, last = 0, number = 0; i <= ALL; i++) {
		u64 now = i < ALL ? words[i] >> 55 & ~2UL : 0; /* without who maps it alone */

		if (number && (i == ALL || now != last)) {
			print(" %ldx%lx", number, last);
			number = 0;
		}
		last = now;
		number++;
	}
	print("\n");
}

static void step(void)
{
	static const u64 near[] = { 0, 1, 511, 512, 513, 1024, 1023, 1535 };
	static const int advices[] = { MADV_DONTNEED, MADV_DONTNEED, 25, 25, 25, 22, 23, MADV_HUGEPAGE, MADV_NOHUGEPAGE };
	u64 first = chance(2) ? chance(HUGES) * HUGE : near[chance(COUNT(near))];
	u64 length = chance(2) ? HUGE : 1 + chance(300);
	char *base = chance(3) ? shared : private, *p;
	u32 what = chance(100);
	long failed_at = -1;

	if (first + length > ALL)
		length = ALL - first;
	p = base + first * PAGE;
	print("%s %ld+%ld ", base == shared ? "shared" : "private", first, length);
	if (what < 40) {
		int write = what < 20;

		for (u64 i = 0; i < length; i++)
			if ((write ? write_byte(p + i * PAGE, 'w') : read_byte(p + i * PAGE)) < 0 && failed_at < 0)
				failed_at = i;
		print("%s, failed at %ld", write ? "write" : "read", failed_at);
	} else if (what < 75) {
		int advice = advices[chance(COUNT(advices))];

		print("madvise %d = %s", advice, result_name(SYS(madvise, p, length * PAGE, advice)));
	} else if (what < 88) {
		int prot = (const int[]){ RW, RW, PROT_READ, 0 }[chance(4)];

		print("mprotect %d = %s", prot, result_name(SYS(mprotect, p, length * PAGE, prot)));
	} else if (what < 94) {
		print("a byte = %s", result_name(SYS(pwrite64, fd, "x", 1, first * PAGE)));
	} else {
		print("fallocate = %s", result_name(SYS(fallocate, fd, 0, first * PAGE, PAGE)));
	}
	print("\n");
	see_one("shared", shared);
	see_one("private", private);
	print("  RssShmem %ld\n", status("RssShmem") - before);
}

int main(void)
{
	pages_begin();
	fd = MUST(memfd_create, "m", 0);
	MUST(ftruncate, fd, ALL * PAGE);
	shared = at(area(), ALL, RW, MAP_SHARED, fd, 0);
	private = at(area(), ALL, RW, MAP_PRIVATE, fd, 0);
	before = status("RssShmem");
	for (int i = 0; i < STEPS; i++)
		step();
	return 0;
}
