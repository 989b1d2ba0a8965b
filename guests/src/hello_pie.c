/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hello_pie: the same as a static position-independent program (ET_DYN with no
 * interpreter). The loader chooses the address; the program puts right the
 * addresses in its own data (see relocate.h), here the table of words.
 *
 * Prints:
 *   hello, world
 */
#include "guest.h"

static const char *const words[] = { "hello", "world" };

int main(int argc, char **argv, char **envp)
{
	const char *const *word = words;

	(void)argc, (void)argv, (void)envp;
	__asm__("" : "+r"(word)); /* or the compiler would not look the words up in the table */
	print("%s, %s\n", word[0], word[1]);
	return 0;
}
