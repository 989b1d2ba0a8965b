/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls on every range of a few mappings, one of a page for each letter: what each comes to, and a sum of the mappings
 * and pages that it leaves.  Built with -DDETAILS it prints these.
 */
// since: 6.18
// needs: proc
#define WHOLE_LINES
#include "mappings.h"

static u32 sum;
static int file, sealedfd;
static void page(char kind, char *p, int i)
{
	switch (kind) {
	case 'p': at(p, 1, RW, PRIVATE, -1, 0); *p = 'x'; break;
	case 'r': at(p, 1, RW, PRIVATE, -1, 0); *p = 'x'; MUST(mprotect, p, PAGE, PROT_READ); break;
	case 'n': at(p, 1, PROT_NONE, PRIVATE, -1, 0); break;
	case 'l': at(p, 1, RW, PRIVATE | MAP_LOCKED, -1, 0); break;
	case 's': at(p, 1, RW, PRIVATE, -1, 0); *p = 'x'; MUST(mseal, p, PAGE, 0); break;
	case 'f': at(p, 1, RW, MAP_PRIVATE, file, i); look(p); break;
	case 'm': at(p, 1, RW, MAP_SHARED, file, i); *p = 'x'; break;
	case 'w': at(p, 1, PROT_READ, MAP_SHARED, sealedfd, i); break;
	case 'd': at(p, 1, RW, 8 | MAP_ANONYMOUS, -1, 0); *p = 'x'; break;
	case 'g': at(p, 1, RW, PRIVATE | MAP_GROWSDOWN, -1, 0); *p = 'x'; break;
	case 'G': at(p, 1, RW, PRIVATE, -1, 0); MUST(madvise, p, PAGE, 102); break;
	}
}

static const char *const names[] = { "mprotect none", "mprotect rw", "munmap", "discard", "give up",	   "guard",
				     "mlock",	      "munlock",     "move",   "keep",	  "map if free", "grow" };

static long call(int which, char *p, u64 n, char *to)
{
	switch (which) {
	case 0:
		return SYS(mprotect, p, n, PROT_NONE);
	case 1:
		return SYS(mprotect, p, n, RW);
	case 2:
		return SYS(munmap, p, n);
	case 3:
		return SYS(madvise, p, n, MADV_DONTNEED);
	case 4:
		return SYS(madvise, p, n, MADV_FREE);
	case 5:
		return SYS(madvise, p, n, 102);
	case 6:
		return SYS(mlock, p, n);
	case 7:
		return SYS(munlock, p, n);
	case 8:
		return SYS(mremap, p, n, n, 3, to);
	case 9:
		return SYS(mremap, p, n, n, 7, to);
	case 10:
		return SYS(mmap, p, n, RW, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
	default:
		return SYS(mremap, p, n, n + PAGE, 0);
	}
}

static void add(u64 value)
{
	sum = (sum ^ value) * 16777619;
#ifdef DETAILS
	print(" %lx", value);
#endif
}

/* The mappings and pages from an address on. */
static void add_state(char *p, u64 pages)
{
	u64 words[8];

	for (const char *line = native_maps; *line; line++) {
		u64 low = number_at(&line, 16), high = (line++, number_at(&line, 16));

		if (low < (u64)p + pages * PAGE && high > (u64)p) {
			add((low - (u64)p) / PAGE);
			add((high - (u64)p) / PAGE);
			add(line[1] << 16 | line[2] << 8 | line[4]);
		}
		while (*line != '\n')
			line++;
	}
	mapped_range(p, pages, words);
	for (u64 i = 0; i < pages; i++)
		add(words[i]);
}

int main(void)
{
	static const char *const layouts[] = { "pp.p", "prpr", "plpl", "psps", "fffp", "mpwm", "pdgp", "pGGp" };

	file = file_of(6);
	sealedfd = MUST(memfd_create, "s", MFD_ALLOW_SEALING);
	MUST(ftruncate, sealedfd, 4 * PAGE);
	MUST(fcntl, sealedfd, F_ADD_SEALS, F_SEAL_WRITE);
	for (u32 layout = 0; layout < COUNT(layouts); layout++) {
		long pid = MUST(fork); /* which is rid of the sealed ones when it ends */

		if (pid) {
			MUST(wait4, pid, 0, 0, 0);
			continue;
		}
		for (u32 which = 0; which < COUNT(names); which++) {
			sum = 2166136261;
			print("%s %s:", layouts[layout], names[which]);
			for (int first = 0; first < 4; first++)
				for (int end = first + 1; end <= 4; end++) {
					char *p = area(), *to = p + 64 * PAGE;
					long result;

					for (int i = 0; i < 4; i++)
						page(layouts[layout][i], p + i * PAGE, i);
					result = call(which, p + first * PAGE, (end - first) * PAGE, to);
					print(" %s", failed(result) ? errno_name(-result) : result ? "ok" : "0");
					read_all("/proc/self/maps");
					add_state(p, 6);
					add_state(to, 4);
					SYS(munmap, p, 128 * PAGE);
					for (int i = 0; i < 4; i++) /* around seals */
						SYS(munmap, p + i * PAGE, PAGE);
				}
			print(" %x\n", sum);
		}
		leave(0);
	}
	return 0;
}
