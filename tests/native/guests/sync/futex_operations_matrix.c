/* SPDX-License-Identifier: GPL-2.0-or-later */
/* futex(2): each operation with each word and each second word. */
#include "native.h"

static volatile u32 words[4];

int main(void)
{
	struct timespec zero = { 0, 0 };
	static const char *const names[] = { "word", "odd", "bad", "read-only" };
	int *ro = anonymous(PAGE, MAP_PRIVATE);
	*ro = 0;
	MUST(mprotect, ro, PAGE, PROT_READ);
	void *at[] = { (void *)&words[0], (char *)&words[0] + 1, NOWHERE, ro };
	void *second[] = { (void *)&words[1], (char *)&words[1] + 1, NOWHERE, NULL };
	for (int op = 0; op < 14; op++) {
		if (op == 6 || op == 7 || op == 8 || op == 11 || op == 12 || op == 13)
			continue;
		for (u32 i = 0; i < COUNT(at); i++) {
			print("%d %s:", op, names[i]);
			for (u32 s = 0; s < COUNT(second); s++) {
				int waits = op == 0 || op == 9;

				print(" %s", result_name(SYS(futex, at[i], op, 0, waits ? (void *)&zero : NULL, second[s], 1)));
				print(" %s", result_name(SYS(futex, at[i], op | 128, 1, waits ? (void *)&zero : NULL, second[s], 0)));
			}
			print("\n");
		}
	}
	return 0;
}
