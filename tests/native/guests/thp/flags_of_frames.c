/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, transparent huge pages
/* /proc/kpageflags and /proc/kpagecount of a huge page, of what it is split into, and of the huge page of zeros. */
#include "thp.h"

static void frames_of(const char *what, char *p, u64 pages)
{
	int map = MUST(open, "/proc/self/pagemap", O_RDONLY), flags = MUST(open, "/proc/kpageflags", O_RDONLY);
	int count = MUST(open, "/proc/kpagecount", O_RDONLY);
	u64 last_flags = 0, last_count = 0, number = 0, first = 0;
	static u64 words[HUGE];

	MUST(pread64, map, words, pages * 8, (u64)p / PAGE * 8);
	print("%s:", what);
	for (u64 i = 0; i <= pages; i++) {
		u64 word = 0, now = 0, times = 0;

		if (i < pages) {
			word = words[i] & ((1UL << 55) - 1);
			if (!i)
				first = word;
			if (word) {
				MUST(pread64, flags, &now, 8, word * 8);
				MUST(pread64, count, &times, 8, word * 8);
				if (word != first + i)
					now |= 1UL << 63;
			}
			now &= ~(1UL << 2 | 1UL << 5 | 1UL << 6 | 1UL << 4); /* referenced, lru, active, dirty: batches */
		}
		if (number && (i == pages || now != last_flags || times != last_count)) {
			print(" %ldx%lx*%ld", number, last_flags, last_count);
			number = 0;
		}
		last_flags = now, last_count = times;
		number++;
	}
	print(" %s\n", first % HUGE ? "not aligned" : "aligned");
	MUST(close, map);
	MUST(close, flags);
	MUST(close, count);
}

int main(void)
{
	char *p = hugely(2, 0);
	long pid;

	touch(p, HUGE);
	look(p + MIB2);
	frames_of("huge", p, HUGE);
	frames_of("zeros", p + MIB2, HUGE);
	SHOW(mprotect, p, PAGE, PROT_READ);
	frames_of("in small entries", p, HUGE);
	SHOW(mprotect, p + MIB2, PAGE, PROT_READ);
	frames_of("in small entries", p + MIB2, HUGE);
	p = hugely(1, 0);
	for (u64 i = 0; i < HUGE; i++)
		p[i * PAGE] = 1;
	SHOW(madvise, p, 8 * PAGE, MADV_FREE);
	frames_of("split", p, HUGE);
	p = hugely(1, 0);
	touch(p, HUGE);
	pid = MUST(fork);
	if (!pid) {
		SYS(pause);
		leave(0);
	}
	frames_of("of two processes", p, HUGE);
	p[4 * PAGE] = 1;
	frames_of("one copied", p, HUGE);
	end_child(pid);
	frames_of("of one", p, HUGE);
	return 0;
}
