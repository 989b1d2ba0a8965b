/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two threads add to one word, each in its turn here; with an argument both at once, which may lose counts. */
#include "native.h"

static volatile u32 word;
static volatile int tids[2];

static int add(u64 times)
{
	for (u64 i = 0; i < times; i++) {
		u32 now = word;

		__asm__ volatile("jmp 1f\n1:");
		word = now + 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	(void)argv;
	for (int i = 0; i < 2; i++) {
		thread(add, 200, tids + i);
		if (argc == 1)
			join(tids + i);
	}
	for (int i = 0; i < 2; i++)
		join(tids + i);
	SAY(word);
	return 0;
}
