/* SPDX-License-Identifier: GPL-2.0-or-later */
/* madvise(2): each advice on three of four pages of each kind of mapping, two of which are there, and what it leaves. */
// since: 6.18
// needs: proc
#define WHOLE_LINES
#include "kinds.h"

static long number_of(const char *text, const char *name)
{
	const char *found = find(text, name) + strlen(name);

	while (*found == ' ')
		found++;
	return number_at(&found, 10);
}

/* Pages, and of smaps the flags that tell more than rights, what is anonymous, used and written. */
static void show_state(char *p)
{
	u64 words[4];
	u8 there;

	mapped_range(p, 4, words);
	print(" [");
	for (int i = 0; i < 4; i++) {
		long result = SYS(mincore, p + i * PAGE, PAGE, &there);

		print("%s%lx%s", i ? " " : "", words[i], result < 0 ? "!" : there & 1 ? "+" : "");
	}
	read_all("/proc/self/smaps");
	for (const char *line = native_maps; *line; line++) {
		if (number_at(&line, 16) == (u64)p && *line == '-') {
			const char *flags = find(line, "VmFlags:") + 9;

			print("] %ld %ld %ld", number_of(line, "Anonymous:"), number_of(line, "Referenced:"),
			      number_of(line, "Private_Dirty:"));
			for (; *flags != '\n'; flags += 3)
				if (!find("rd wr ex mr mw me sh ms ac ", (char[]){ flags[0], flags[1], ' ', 0 }))
					print(" %c%c", flags[0], flags[1]);
			break;
		}
		while (*line != '\n')
			line++;
	}
	print("\n");
}

/* Tells of pages that are gathered on the way to a list. */
static void drain(void)
{
	static char own[PAGE] __attribute__((aligned(4096)));

	MUST(madvise, own, PAGE, MADV_POPULATE_READ);
}

int main(void)
{
	static const int advices[] = { 0,  1,  2,  3,  4,  8,  9,  10, 11, 14,	15,  16,  17,
				       18, 19, 20, 21, 22, 23, 24, 26, 27, 102, 103, 104, -1 };
	u64 one = 1;

	SYS(sched_setaffinity, 0, 8, &one);
	make_files();
	for (u32 kind = 0; kind < COUNT(kinds); kind++) {
		long pid = MUST(fork); /* which is rid of the sealed ones when it ends */

		if (pid) {
			MUST(wait4, pid, 0, 0, 0);
			continue;
		}
		print("== %s\n", kinds[kind]);
		for (u32 i = 0; i < COUNT(advices); i++) {
			char *p = make(kind, area());

			drain();
			print("%d %s", advices[i], result_name(SYS(madvise, p, 3 * PAGE, advices[i])));
			drain();
			show_state(p);
			MUST(pwrite64, file, "F", 1, 0);
			MUST(pwrite64, file, "F", 1, PAGE);
			SYS(munmap, p, 4 * PAGE);
		}
		leave(0);
	}
	return 0;
}
