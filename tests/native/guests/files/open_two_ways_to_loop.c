/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Symbolic links that lead to each other are ELOOP, and so are forty in a row. */
#include "native.h"

int main(void)
{
	char name[8] = "s0", next[8] = "s1";
	MUST(symlink, "b", "a");
	MUST(symlink, "a", "b");
	SHOW(open, "a", O_RDONLY);
	SHOW(open, "a/x", O_RDONLY);
	SHOW(open, "a", O_RDONLY | O_NOFOLLOW);
	put("end", "text");
	MUST(symlink, "end", "l00");
	for (int i = 1; i < 42; i++) {
		char from[4] = { 'l', '0' + i / 10, '0' + i % 10, 0 };
		char to[4] = { 'l', '0' + (i - 1) / 10, '0' + (i - 1) % 10, 0 };
		MUST(symlink, to, from);
	}
	SHOW(open, "l38", O_RDONLY);
	SHOW(open, "l39", O_RDONLY);
	SHOW(open, "l40", O_RDONLY);
	SHOW(open, "l41", O_RDONLY);
	(void)name, (void)next;
	return 0;
}
