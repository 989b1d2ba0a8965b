/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading, writing and running memory of each right, before and after each other right. */
#include "native.h"

static volatile int code;
static u64 after;
static void on_fault(int signo, siginfo_t *info, ucontext_t *context)
{
	code = signo * 10 + info->si_code;
	context->uc_mcontext.gregs[REG_RIP] = after;
}
#define ACCESS(text) (code = 0, ({ __asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n" text "\n1:" : "=m"(after) : "D"(p) : "rax", "rcx", "memory"); }), code)

int main(void)
{
	u8 *p;
	handle(SIGSEGV, on_fault, SA_SIGINFO | SA_NODEFER);
	for (int kind = 0; kind < 3; kind++)
		for (int first = 0; first < 8; first++)
			for (int second = 0; second < 8; second++) {
				p = (void *)MUST(mmap, 0, PAGE, kind == 2 ? PROT_READ | PROT_WRITE : first, (kind ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
				if (kind == 2) {
					p[0] = 0xff, p[1] = 0xe0; /* jmp *%rax */
					MUST(mprotect, p, PAGE, first);
				}
				print("%d %d %d:", kind, first, second);
				print(" %d", ACCESS("movb (%%rdi), %%cl"));
				print(" %d", ACCESS("movb $0xff, (%%rdi)"));
				MUST(mprotect, p, PAGE, second);
				print(" %d", ACCESS("movb (%%rdi), %%cl"));
				print(" %d", ACCESS("movb $0xff, (%%rdi)"));
				if (kind == 2)
					print(" %d", ACCESS("jmp *%%rdi"));
				print("\n");
				MUST(munmap, p, PAGE);
			}
	return 0;
}
