/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* Calls by chance on four huge pages; after each, what /proc says of them. */
#include "pages.h"
#define show_pages show_mapped
#include "thp.h"

#define HUGES 4
#define ALL (HUGES * HUGE)
#ifndef STEPS
#define STEPS 40
#endif

static char *base;

static u64 some_page(void)
{
	static const u64 near[] = { 0, 1, 511, 512, 513, 1024, 1023, 1536, 2047 };

	return chance(3) ? chance(HUGES) * HUGE : chance(2) ? near[chance(COUNT(near))] : chance(ALL);
}

static u64 some_length(u64 first)
{
	u64 length = chance(3) ? HUGE * (1 + chance(2)) : chance(2) ? 1 + chance(12) : 1 + chance(700);

	return first + length > ALL ? ALL - first : length;
}

static void see(void)
{
	const char *line;

	read_all("/proc/self/smaps");
	for (line = native_maps; *line; line++) {
		const char *at = line;
		static int inside;

		if ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f')) {
			u64 low = number_at(&at, 16), high = (at++, number_at(&at, 16));

			inside = low >= (u64)base && high <= (u64)base + ALL * PAGE;
			if (inside)
				print("  %ld-%ld %c%c%c%c", (long)(low - (u64)base) / (long)PAGE,
				      (long)(high - (u64)base) / (long)PAGE, at[1], at[2], at[3], at[4]);
		} else if (inside) {
			static const char *const names[] = { "Rss:", "Referenced:", "Anonymous:", "LazyFree:", "AnonHugePages:",
							     "THPeligible:", "Private_Dirty:", "Shared_Dirty:" };

			for (u32 i = 0; i < COUNT(names); i++)
				if (!memcmp(line, names[i], strlen(names[i]))) {
					for (at = line + strlen(names[i]); *at == ' ';)
						at++;
					print(" %ld", (long)number_at(&at, 10));
				}
			if (!memcmp(line, "VmFlags:", 8)) {
				print(" ");
				for (at = line + 9; *at != '\n'; at++)
					print("%c", *at);
				print("\n");
			}
		}
		while (*line != '\n')
			line++;
	}
	static u64 words[ALL + 1];
	static int pagemap = -1;

	if (pagemap < 0)
		pagemap = MUST(open, "/proc/self/pagemap", O_RDONLY);
	MUST(pread64, pagemap, words, ALL * 8, (u64)base / PAGE * 8);
	words[ALL] = 0;
	print("  tables %ld", status("VmPTE") - thp_tables);
	for (u64 i = 0, last = 0, number = 0; i <= ALL; i++) {
		if (number && (i == ALL || words[i] >> 55 != last)) {
			print(" %ldx%lx", number, last);
			number = 0;
		}
		last = words[i] >> 55;
		number++;
	}
	print("\n");
}

static const int advices[] = { MADV_DONTNEED, MADV_DONTNEED, MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_FREE, MADV_FREE,
			       MADV_COLD_, MADV_DONTFORK, MADV_DOFORK, 22, 23, 25, 25, 25, 24, 102, 103, MADV_DONTDUMP };

static void touch_some(u64 first, u64 length, int write)
{
	long failed_at = -1;

	for (u64 i = first; i < first + length; i++) {
		int value = write ? write_byte(base + i * PAGE, 'w') : read_byte(base + i * PAGE);

		if (value < 0 && failed_at < 0)
			failed_at = i;
	}
	print(" %s", failed_at < 0 ? "done" : "failed");
	if (failed_at >= 0)
		print(" at %ld", failed_at);
}

static void step(void)
{
	u64 first = some_page(), length = some_length(first), to = some_page();
	char *p = base + first * PAGE;
	u64 size = length * PAGE;
	u32 what = chance(100);
	long before = faults(), result = 0;

	print("%ld+%ld ", first, length);
	if (what < 22) {
		print("write");
		touch_some(first, length, 1);
	} else if (what < 32) {
		print("read");
		touch_some(first, length, 0);
	} else if (what < 62) {
		int advice = advices[chance(COUNT(advices))];

		result = SYS(madvise, p, size, advice);
		print("madvise %d = %s", advice, result_name(result));
	} else if (what < 72) {
		int prot = (const int[]){ RW, RW, RW, PROT_READ, 0 }[chance(5)];

		print("mprotect %d = %s", prot, result_name(SYS(mprotect, p, size, prot)));
	} else if (what < 77) {
		print("munmap = %s", result_name(SYS(munmap, p, size)));
	} else if (what < 84) {
		result = SYS(mmap, p, size, RW, PRIVATE | MAP_FIXED | (chance(4) ? 0 : MAP_POPULATE), -1, 0);
		print("mmap = %s", failed(result) ? errno_name(-result) : "there");
	} else if (what < 90) {
		if (to + length > ALL)
			to = ALL - length;
		result = SYS(mremap, p, size, size, chance(3) ? 3 : 7, base + to * PAGE);
		print("mremap to %ld = %s", to, failed(result) ? errno_name(-result) : "there");
	} else if (what < 92) {
		result = SYS(mlock, p, size);
		print("mlock = %s", result_name(result));
		SYS(munlock, base, ALL * PAGE);
	} else {
		int writes = chance(2);
		long pid = MUST(fork);

		if (!pid) {
			if (writes)
				touch_some(first, length > 40 ? 40 : length, 1);
			leave(0);
		}
		MUST(wait4, pid, 0, 0, 0);
		print("fork, the child %s", writes ? "writes" : "ends");
	}
	if (what >= 32 && what < 92) /* a processor may fault once more by what it remembers of an entry */
		print(", %ld faults", faults() - before);
	print("\n");
	see();
}

int main(void)
{
	pages_begin();
	base = at(area(), ALL, RW, PRIVATE, -1, 0);
	MUST(madvise, base, ALL * PAGE, MADV_HUGEPAGE);
	thp_tables = status("VmPTE");
	see();
	for (int i = 0; i < STEPS; i++)
		step();
	return 0;
}
