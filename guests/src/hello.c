/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hello: the smallest guest. One write(2) and an exit.
 *
 * Prints:
 *   hello, world
 */
#include "guest.h"

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	print("hello, world\n");
	return 0;
}
