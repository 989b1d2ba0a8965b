/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest program may tell the test that runs it.
 *
 * unimmu_mark(n): "I have come to point n." Where the test waits for that mark
 * (machine.run_until_mark), the process stops there until the test goes on;
 * everywhere else, on a Linux host too, the call does nothing.
 */
#ifndef UNIMMU_H
#define UNIMMU_H

static inline void unimmu_mark(unsigned long n)
{
	unsigned long result = 1000000; /* a system call that no kernel has */

	__asm__ volatile("syscall" : "+a"(result) : "D"(n) : "rcx", "r11", "memory");
	(void)result;
}

#endif
