/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gups SIZE [UPDATES [4k|thp|hugetlb]]: random updates of a table of SIZE bytes,
 * a power of two, by the numbers of HPCC's RandomAccess: a word is read, changed
 * and written where nothing near it was, so that hardly any update of a large
 * table finds its translation in a TLB. UPDATES is four for each word, as there,
 * if not given. The table is zero at first, its pages come as they are touched,
 * and are what the kernel likes; 4k asks for small ones (MADV_NOHUGEPAGE), thp
 * for huge ones (MADV_HUGEPAGE, in a range of whole ones), hugetlb for those
 * that have been put aside (MAP_HUGETLB).
 *
 * Prints, where S is the sum of all words that were read:
 *   N updates of W words: S
 * Where there are no such pages, the error, and exit status 1.
 */
#include "guest.h"

#define __NR_madvise 28
#define MADV_HUGEPAGE 14
#define MADV_NOHUGEPAGE 15
#define MAP_HUGETLB 0x40000
#define HUGE_PAGE (2UL << 20)

/* Of the polynomial over GF(2) whose powers are the numbers. */
#define POLYNOMIAL 7

static u64 *table_of(u64 size, const char *pages)
{
	u64 whole = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	u64 begin;

	if (!strcmp(pages, "hugetlb"))
		return anonymous(whole, MAP_PRIVATE | MAP_HUGETLB);
	begin = (u64)anonymous(whole + HUGE_PAGE, MAP_PRIVATE);
	begin = (begin + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	if (!strcmp(pages, "4k"))
		must(syscall3(__NR_madvise, begin, whole, MADV_NOHUGEPAGE), "madvise");
	else if (!strcmp(pages, "thp"))
		must(syscall3(__NR_madvise, begin, whole, MADV_HUGEPAGE), "madvise");
	else if (*pages)
		usage("gups: the pages are 4k, thp or hugetlb");
	return (u64 *)begin;
}

int main(int argc, char **argv, char **envp)
{
	u64 size, words, updates, number = 1, sum = 0;
	volatile u64 *table;

	(void)envp;
	if (argc < 2 || argc > 4)
		usage("gups SIZE[K|M|G] [UPDATES [4k|thp|hugetlb]]");
	size = atou64(argv[1]);
	words = size / sizeof(u64);
	updates = argc > 2 ? atou64(argv[2]) : 4 * words;
	if (!words || size & (size - 1))
		usage("gups: SIZE is a power of two, from 8");
	table = table_of(size, argc > 3 ? argv[3] : "");
	for (u64 i = 0; i < updates; i++) {
		u64 value;

		number = number << 1 ^ ((long)number < 0 ? POLYNOMIAL : 0);
		value = table[number & (words - 1)];
		sum += value;
		table[number & (words - 1)] = value ^ number;
	}
	print("%lu updates of %lu words: 0x%lx\n", updates, words, sum);
	return 0;
}
