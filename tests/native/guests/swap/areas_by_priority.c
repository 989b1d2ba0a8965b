/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of several areas takes the pages: the one with the higher priority, and when that is full the next. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static long used(const char *name)
{
	long field = 0, number = 0;
	const char *line;

	read_all("/proc/swaps");
	line = find(native_maps, name);
	if (!line)
		return -1;
	for (line += strlen(name); *line && *line != '\n'; line++)
		if (*line >= '0' && *line <= '9' && (line[-1] == '\t' || line[-1] == ' ')) {
			number = number_at(&line, 10);
			line--;
			if (++field == 2)
				return number;
		}
	return -1;
}

static void say(const char *what)
{
	print("%s: a %d, b %d, c %d\n", what, (int)used("unimmu-swap/a "), (int)used("unimmu-swap/b "),
	      (int)used("unimmu-swap/c\\040d "));
}

int main(void)
{
	char *p = fresh(64);

	swap_begin();
	make_area("a", 9, 8);
	make_area("b", 9, 8);
	make_area("c d", 65, 64);
	MUST(swapon, "a", PREFER | 5);
	MUST(swapon, "b", PREFER | 9);
	MUST(swapon, "c d", 0);
	touch(p, 64);
	say("none");
	MUST(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	say("four");
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	say("eight");
	MUST(madvise, p, 12 * PAGE, MADV_PAGEOUT_);
	say("twelve");
	MUST(madvise, p, 40 * PAGE, MADV_PAGEOUT_);
	say("forty");
	SHOW(swapoff, "b");
	say("one is off");
	for (int i = 0; i < 40; i++)
		if (look(p + i * PAGE) != (char)('A' + i))
			print("page %d is wrong\n", i);
	MUST(munmap, p, 64 * PAGE);
	swap_end();
	return 0;
}
