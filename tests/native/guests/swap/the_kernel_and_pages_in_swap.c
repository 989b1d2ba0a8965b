/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel reads and writes memory that lies in swap: read, write, futex, a signal frame, execve's arguments. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

static volatile int handled;

static void on_signal(int signo)
{
	handled = signo;
}

int main(void)
{
	static char stack_page[3 * PAGE];
	char *p = fresh(8);
	int ends[2];
	stack_t stack = { .ss_sp = (void *)(((u64)stack_page + PAGE - 1) & -PAGE), .ss_size = 2 * PAGE };
	long child;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	MUST(pipe2, ends, 0);
	for (int i = 0; i < 8; i++)
		memset(p + i * PAGE, 'a' + i, PAGE);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(write, ends[1], p + PAGE - 2, 4);
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(read, ends[0], p + 3 * PAGE - 2, 4);
	print("%d %d %d %d\n", p[3 * PAGE - 2], p[3 * PAGE - 1], p[3 * PAGE], p[3 * PAGE + 1]);
	*(int *)(p + 4 * PAGE) = 5;
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(futex, p + 4 * PAGE, FUTEX_WAIT, 6, 0);
	SHOW(futex, p + 4 * PAGE, FUTEX_WAKE, 1);
	p[5 * PAGE + 2] = 0;
	MUST(madvise, p, 8 * PAGE, MADV_PAGEOUT_);
	SHOW(open, p + 5 * PAGE, O_RDONLY);
	memset(stack.ss_sp, 1, stack.ss_size);
	MUST(sigaltstack, &stack, 0);
	handle(SIGUSR1, (void *)on_signal, SA_ONSTACK);
	MUST(madvise, stack.ss_sp, stack.ss_size, MADV_PAGEOUT_);
	child = MUST(getpid);
	MUST(kill, child, SIGUSR1);
	print("handled %d\n", handled);
	MUST(munmap, p, 8 * PAGE);
	swap_end();
	return 0;
}
