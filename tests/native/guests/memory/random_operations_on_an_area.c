/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls on memory, by chance, and what each page then holds and allows. */
#define WHOLE_LINES
#include "native.h"

#define PAGES 24
static char *area;
static volatile int fault;
static u64 after;
static void on_fault(int signo, siginfo_t *info, ucontext_t *context)
{
	fault = signo * 10 + info->si_code;
	context->uc_mcontext.gregs[REG_RIP] = after;
}
static int peek(char *p)
{
	u8 byte;

	fault = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n xor %%ecx, %%ecx\n movb (%%rdi), %%cl\n1:" : "=m"(after), "=c"(byte) : "D"(p) : "rax", "memory");
	return fault ? -fault : byte;
}
static int poke(char *p, int value)
{
	fault = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n movb %%cl, (%%rdi)\n1:" : "=m"(after) : "D"(p), "c"(value) : "rax", "memory");
	return -fault;
}
static int rights(void)
{
	return chance(4) ? PROT_READ | PROT_WRITE : chance(2) ? PROT_READ : PROT_NONE;
}
static long one(int fd)
{
	char *p = area + chance(PAGES) * PAGE, *q = area + chance(PAGES) * PAGE;
	u64 n = (1 + chance(5)) * PAGE;
	static const int flags[] = { MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED };
	static const int advice[] = { MADV_DONTNEED, MADV_NORMAL, MADV_WILLNEED, MADV_DONTFORK, MADV_DOFORK, MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	u8 v[PAGES];
	int kind, how;
	long result;

	if (p + n > area + PAGES * PAGE)
		n = area + PAGES * PAGE - p;
	switch (chance(12)) {
	case 0:
	case 1:
	case 2:
		kind = flags[chance(4)], how = rights();
		result = SYS(mmap, p, n, how, kind | (chance(4) ? MAP_FIXED : MAP_FIXED_NOREPLACE), fd, chance(8) * PAGE);
		return failed(result) ? result : 0;
	case 3:
		return SYS(munmap, p, n);
	case 4:
	case 5:
		how = rights();
		return SYS(mprotect, p, n, how);
	case 6:
		kind = chance(4);
		result = SYS(mremap, p, n, (1 + chance(5)) * PAGE, kind == 3 ? MREMAP_MAYMOVE | MREMAP_FIXED : 0, q);
		if (failed(result))
			return result;
		return (result - (long)area) / (long)PAGE;
	case 7:
		return SYS(madvise, p, n, advice[chance(COUNT(advice))]);
	case 8:
		return SYS(msync, p, n, MS_SYNC);
	case 9:
		return SYS(mincore, p, n, v);
	case 10:
		return SYS(mremap, p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, q) >= 0 ? 1 : 0;
	default:
		return SYS(pread64, fd, p + chance(PAGE), chance(2 * PAGE), 3 * PAGE);
	}
}

int main(void)
{
	int fd = MUST(memfd_create, "m", 0);
	MUST(ftruncate, fd, 6 * PAGE + 100);
	for (int i = 0; i < 6; i++)
		MUST(pwrite64, fd, &"ABCDEF"[i], 1, i * PAGE);
	area = (void *)MUST(mmap, 0, 2 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle(SIGSEGV, on_fault, SA_SIGINFO | SA_NODEFER);
	handle(SIGBUS, on_fault, SA_SIGINFO | SA_NODEFER);
	for (int line = 0; line < 120; line++) {
		print("%d:", line);
		for (int i = 0; i < 4; i++) {
			int at = chance(PAGES), value = 'a' + chance(26);

			print(" %ld", one(fd));
			print("/%d.%d", poke(area + at * PAGE, value), peek(area + chance(PAGES) * PAGE));
		}
		print("\n  ");
		for (int i = 0; i < PAGES; i++)
			print(" %d", peek(area + i * PAGE));
		print("\n");
	}
	return 0;
}
