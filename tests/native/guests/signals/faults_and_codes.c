/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP: their codes, and the address. */
#include "native.h"

static void *at;
static u64 skip;
static void on_fault(int signo, siginfo_t *info, ucontext_t *context)
{
	print("%s code %d at %d\n", signal_name(signo), info->si_code, info->si_addr == at);
	context->uc_mcontext.gregs[REG_RIP] = skip;
}
#define FAULT(code) __asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n" code "\n1:" : "=m"(skip) : "D"(at) : "rax", "rdx", "rcx", "memory")

int main(void)
{
	char *p = (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 5; i++)
		handle((int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP }[i], on_fault, SA_SIGINFO | SA_NODEFER);
	at = NOWHERE;
	FAULT("movb $1, (%%rdi)");
	at = p;
	FAULT("movb $1, (%%rdi)");
	at = p;
	FAULT("jmp *%%rdi\n");
	at = (void *)(1UL << 60);
	FAULT("movb (%%rdi), %%al");
	at = NULL;
	FAULT("xor %%edx, %%edx\n xor %%ecx, %%ecx\n div %%ecx");
	FAULT("ud2");
	FAULT("hlt");
	FAULT("int3");
	return 0;
}
