/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hello_libc: an ordinary C program, to see a real libc start, allocate and
 * print. Built as hello_musl (static), hello_musl_pie (static-pie) and
 * hello_glibc (static; too large to be kept prebuilt).
 *
 * `GREETING=hi hello_musl a bc` prints:
 *   hello, world
 *   argc 3
 *   argv[1] a
 *   argv[2] bc
 *   GREETING hi                    ("(unset)" where the variable is not set)
 *   malloc: 256 of 256 pages right
 *   sum of 1/n for n = 1..1000: 7.485470860550
 */
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 1 << 20, PAGE = 4096 };

/* Writes each page of a fresh 1 MiB, then counts the pages that kept what was written. */
static int malloc_pages(void)
{
	volatile unsigned char *memory = malloc(SIZE);
	int right = 0;

	if (!memory)
		return -1;
	for (int i = 0; i < SIZE; i += PAGE)
		memory[i] = (unsigned char)(i / PAGE * 7 + 1);
	for (int i = 0; i < SIZE; i += PAGE)
		right += memory[i] == (unsigned char)(i / PAGE * 7 + 1);
	free((void *)memory);
	return right;
}

int main(int argc, char **argv)
{
	const char *greeting = getenv("GREETING");
	double sum = 0;

	printf("hello, world\n");
	printf("argc %d\n", argc);
	for (int i = 1; i < argc; i++)
		printf("argv[%d] %s\n", i, argv[i]);
	printf("GREETING %s\n", greeting ? greeting : "(unset)");
	printf("malloc: %d of %d pages right\n", malloc_pages(), SIZE / PAGE);
	for (int n = 1; n <= 1000; n++)
		sum += 1.0 / n;
	printf("sum of 1/n for n = 1..1000: %.12f\n", sum);
	return 0;
}
