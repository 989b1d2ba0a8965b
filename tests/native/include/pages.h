/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at pages: what an access comes to, and what /proc/self/pagemap and
 * mincore(2) say.
 */
#ifndef PAGES_H
#define PAGES_H

#include <ucontext.h>

#include "native.h"

static volatile int pages_signal, pages_code, pages_lsb;

UNUSED static void pages_on_fault(int signo, siginfo_t *info, void *context)
{
	pages_signal = signo;
	pages_code = info->si_code;
	pages_lsb = signo == SIGBUS ? info->si_addr_lsb : 0;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* both accesses have two bytes */
}

/* To be called first: accesses that fail go on. */
UNUSED static void pages_begin(void)
{
	handle(SIGSEGV, pages_on_fault, SA_SIGINFO);
	handle(SIGBUS, pages_on_fault, SA_SIGINFO);
}

/* The byte there, or -SIGSEGV, -SIGBUS. */
UNUSED static int read_byte(const void *at)
{
	u64 value = 0;

	pages_signal = 0;
	__asm__ volatile("movb (%%rdi), %%al" : "+a"(value) : "D"(at) : "memory");
	return pages_signal ? -pages_signal : (int)(value & 255);
}

/* 0, or -SIGSEGV, -SIGBUS. */
UNUSED static int write_byte(void *at, int byte)
{
	pages_signal = 0;
	__asm__ volatile("movb %%al, (%%rdi)" : : "a"(byte), "D"(at) : "memory");
	return -pages_signal;
}

UNUSED static u64 pagemap_word(const void *page)
{
	u64 word = 0;
	int fd = MUST(open, "/proc/self/pagemap", O_RDONLY);

	MUST(pread64, fd, &word, sizeof(word), (u64)page / PAGE * sizeof(word));
	MUST(close, fd);
	return word;
}

/* One letter a bit: present, swapped, of a file, guard, write-protected by userfaultfd, exclusively mapped. */
UNUSED static void show_pages(const char *what, void *start, int number)
{
	u8 core;

	print("%s:", what);
	for (char *page = start; number--; page += PAGE) {
		u64 word = pagemap_word(page);
		long in_core = SYS(mincore, page, PAGE, &core);

		print(" %s%s%s%s%s%s%s", word >> 63 ? "P" : "-", word >> 62 & 1 ? "s" : "",
		      word >> 61 & 1 ? "f" : "", word >> 58 & 1 ? "g" : "", word >> 57 & 1 ? "w" : "",
		      word >> 56 & 1 ? "x" : "", in_core ? "?" : core & 1 ? "c" : "");
	}
	print("\n");
}

/* Reads a file of /proc whole. */
static char pages_text[1 << 16];
UNUSED static long slurp(const char *path)
{
	long used = 0, n;
	int fd = MUST(open, path, O_RDONLY);

	while ((n = MUST(read, fd, pages_text + used, sizeof(pages_text) - 1 - used)) > 0)
		used += n;
	pages_text[used] = 0;
	MUST(close, fd);
	return used;
}

/* The number of VMAs that lie in [start, start + size). */
UNUSED static int mappings(void *start, u64 size)
{
	int found = 0, field = 0;
	u64 number = 0, low = 0;

	slurp("/proc/self/maps");
	for (char *c = pages_text; *c; c++) {
		if (*c == '\n') {
			field = 0, number = 0;
		} else if (field < 2 && (*c == '-' || *c == ' ')) {
			if (field++ == 0)
				low = number;
			else if (low < (u64)start + size && number > (u64)start)
				found++;
			number = 0;
		} else if (field < 2) {
			number = number * 16 + (*c <= '9' ? *c - '0' : *c - 'a' + 10);
		}
	}
	return found;
}

#endif
