/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfork(2): the parent goes on when the child has ended, and sees what it wrote. */
#include "native.h"

static volatile int value;

static __attribute__((noinline)) long vfork_child(void)
{
	long pid;

	__asm__ volatile("mov $58, %%eax\n"
					 "syscall\n"
					 "test %%rax, %%rax\n"
					 "jnz 1f\n"
					 "movl $5, %1\n"
					 "mov $60, %%eax\n"
					 "mov $6, %%edi\n"
					 "syscall\n"
					 "1:\n"
					 : "=&a"(pid), "+m"(value)
					 :
					 : "rcx", "r11", "rdi", "memory");
	return pid;
}

int main(void)
{
	long pid = vfork_child();
	SAY(value);
	reap(pid);
	return 0;
}
