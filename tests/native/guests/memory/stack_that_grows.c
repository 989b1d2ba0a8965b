/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAP_GROWSDOWN grows into free space and stops at a neighbour. */
#include "native.h"

static void on_segv(int signo, siginfo_t *info)
{
	print("%s %d\n", signal_name(signo), info->si_code);
	leave(0);
}

int main(void)
{
	char *area = (void *)MUST(mmap, 0, 600 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(munmap, area, 600 * PAGE);
	char *top = area + 590 * PAGE;
	MUST(mmap, top, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	top[-1] = 1;
	top[-5 * (long)PAGE] = 2;
	print("%d %d %d\n", top[-1], top[-5 * (long)PAGE], top[-2 * (long)PAGE]);
	SHOW(munmap, top - 5 * PAGE, 6 * PAGE);
	handle(SIGSEGV, on_segv, SA_SIGINFO);
	top[-1] = 1;
	return 0;
}
