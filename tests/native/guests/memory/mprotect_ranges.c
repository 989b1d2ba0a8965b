/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mprotect(2): what changes before a hole, what a file allows. */
#include "native.h"

static void on_segv(int signo, siginfo_t *info)
{
	print("%s %d\n", signal_name(signo), info->si_code);
	leave(0);
}

int main(void)
{
	put("file", "x");
	int ro = MUST(open, "file", O_RDONLY);
	char *p = anonymous(4 * PAGE, MAP_PRIVATE);
	char *m = (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	SHOW(mprotect, p, PAGE, PROT_READ);
	SHOW(mprotect, p + 1, PAGE, PROT_READ);
	SHOW(mprotect, p, 0, PROT_READ);
	SHOW(mprotect, p, -1UL, PROT_READ);
	SHOW(mprotect, p, PAGE, 0x1000);
	SHOW(mprotect, p + 1, PAGE, 0x1000);
	SHOW(mprotect, p, PAGE, PROT_GROWSDOWN | PROT_GROWSUP);
	SHOW(mprotect, p, PAGE, PROT_READ | PROT_GROWSDOWN);
	SHOW(mprotect, m, PAGE, PROT_WRITE);
	SHOW(mprotect, m, PAGE, PROT_READ | PROT_EXEC);
	MUST(munmap, p + 2 * PAGE, PAGE);
	SHOW(mprotect, p, 4 * PAGE, PROT_NONE);
	SHOW(mprotect, p + 2 * PAGE, PAGE, PROT_READ);
	SHOW(mprotect, p + 3 * PAGE, PAGE, PROT_NONE);
	handle(SIGSEGV, on_segv, SA_SIGINFO);
	p[PAGE] = 1;
	return 0;
}
