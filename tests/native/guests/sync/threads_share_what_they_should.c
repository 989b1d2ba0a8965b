/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread's exit, its number, what it shares with others. */
#include "native.h"

static int shared;
static int body(u64 argument)
{
	shared += argument;
	print("thread: pid %d, tid %d\n", SYS(getpid) != SYS(gettid), SYS(getppid) > 0);
	MUST(close, 1);
	return 3;
}

int main(void)
{
	volatile int tid;
	MUST(dup2, 1, 9);
	long number = thread(body, 5, &tid);
	join(&tid);
	SAY(number != SYS(getpid));
	SHOW(write, 1, "x", 1);
	MUST(dup2, 9, 1);
	SAY(shared);
	SHOW(tkill, number, 0);
	SHOW(wait4, -1, NULL, 0, NULL);
	return 0;
}
