/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A futex on the list of a thread that ends is marked, and a waiter wakes. */
#include "native.h"

static struct { void *next; } node;
static struct { void *list; long offset; void *pending; } head;
static volatile u32 word[4];
static int body(u64 unused)
{
	(void)unused;
	head.list = &node, head.offset = (char *)word - (char *)&node, node.next = &head;
	MUST(set_robust_list, &head, 24);
	word[0] = SYS(gettid);
	return 0;
}

int main(void)
{
	volatile int tid;
	long number = thread(body, 0, &tid);
	join(&tid);
	while (!(word[0] & FUTEX_OWNER_DIED))
		SYS(sched_yield);
	print("%x %d\n", word[0] & ~FUTEX_TID_MASK, (word[0] & FUTEX_TID_MASK) == (u32)number);
	SHOW(futex, word, FUTEX_WAIT, 0, NULL);
	return 0;
}
