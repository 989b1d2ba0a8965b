/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Marks by which a program says what is of interest (`unimmu run --region marker`):
 *
 *	UNIMMU_BEGIN();          the region begins
 *	work();
 *	UNIMMU_END();            and ends
 *	UNIMMU_MARK("half");     an event `mark` with a text, within the region
 *
 * Each is a NOP of seven bytes with a memory operand, 0f 1f 80 and a displacement that spells which it is. A processor
 * decodes it and does nothing: no register, no flag and no memory is touched, natively, in a virtual machine and in
 * other simulators. Compilers and assemblers pad code with the same NOP, but with a displacement of 0.
 * Pairs may be nested: the region ends with the outermost one. Needs no library.
 */
#ifndef UNIMMU_H
#define UNIMMU_H

#define UNIMMU_BEGIN() __asm__ volatile("nopl 0x42494e55(%%rax)" : : : "memory") /* UNIB */
#define UNIMMU_END() __asm__ volatile("nopl 0x45494e55(%%rax)" : : : "memory")   /* UNIE */

/* The text is looked at first, so that its page is there: a mark itself brings none in. */
#define UNIMMU_MARK(text)                                                                        \
	__asm__ volatile("cmpb $0, (%0)\n\tnopl 0x54494e55(%0)" /* UNIT */                       \
			 : : "a"((const char *)(text)) : "cc", "memory")

#endif
