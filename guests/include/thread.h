/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads by clone(2), without a library: start_thread() and join_thread().
 */
#ifndef THREAD_H
#define THREAD_H

#include "guest.h"

#define CLONE_VM 0x100
#define CLONE_FS 0x200
#define CLONE_FILES 0x400
#define CLONE_SIGHAND 0x800
#define CLONE_THREAD 0x10000
#define CLONE_SYSVSEM 0x40000
#define CLONE_SETTLS 0x80000
#define CLONE_PARENT_SETTID 0x100000
#define CLONE_CHILD_CLEARTID 0x200000
#define THREAD_FLAGS                                                                             \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |      \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define NR_SYS_EXIT 60
#define NR_FUTEX 202
#define FUTEX_WAIT 0
#define THREAD_STACK (64UL << 10)

/* clone(2); the child takes a function and its argument from its stack, calls it, and exits with its result. */
long clone_run(u64 flags, u64 *stack, volatile int *parent_tid, volatile int *child_tid, u64 tls);
__asm__(".text\n"
	"clone_run:\n"
	"	mov %rcx, %r10\n"
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jnz 1f\n"
	"	xor %ebp, %ebp\n"
	"	pop %rax\n"
	"	pop %rdi\n"
	"	call *%rax\n"
	"	mov %eax, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"1:	ret\n");

/*
 * A thread that runs function(argument); `tid` holds its number until it has ended, then 0.
 * `flags` are more of CLONE_*, `tls` is what CLONE_SETTLS takes. The result is its number, or an error.
 */
static inline long start_thread(int (*function)(u64), u64 argument, volatile int *tid, u64 flags, u64 tls)
{
	u64 *stack = anonymous(THREAD_STACK, MAP_PRIVATE);

	stack += THREAD_STACK / sizeof(*stack);
	*--stack = argument;
	*--stack = (u64)function;
	*tid = -1; /* the kernel writes it before the thread runs */
	return clone_run(THREAD_FLAGS | flags, stack, tid, tid, tls);
}

/* Waits until the kernel has written 0 there. */
static inline void join_thread(volatile int *tid)
{
	int now;

	while ((now = *tid))
		syscall6(NR_FUTEX, (u64)tid, FUTEX_WAIT, now, 0, 0, 0);
}

#endif
