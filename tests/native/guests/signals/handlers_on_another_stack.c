/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sigaltstack(2) and SA_ONSTACK. */
#include "native.h"

static char other[16384];
static void on_usr1(int signo)
{
	char here;
	stack_t now;

	(void)signo;
	print("on it: %d\n", &here >= other && &here < other + sizeof(other));
	MUST(sigaltstack, NULL, &now);
	print("flags %d\n", now.ss_flags);
	now.ss_size = 8192;
	SHOW(sigaltstack, &now, NULL);
}

int main(void)
{
	stack_t stack = { .ss_sp = other, .ss_size = sizeof(other) }, old;
	SHOW(sigaltstack, NULL, &old);
	print("%d %ld\n", old.ss_flags, (long)old.ss_size);
	SHOW(sigaltstack, &stack, NULL);
	SHOW(sigaltstack, NULL, &old);
	print("%d %ld %d\n", old.ss_flags, (long)old.ss_size, old.ss_sp == other);
	handle(SIGUSR1, on_usr1, SA_ONSTACK);
	MUST(kill, SYS(getpid), SIGUSR1);
	stack.ss_size = 100;
	SHOW(sigaltstack, &stack, NULL);
	stack.ss_flags = 64;
	SHOW(sigaltstack, &stack, NULL);
	stack.ss_flags = SS_DISABLE;
	SHOW(sigaltstack, &stack, NULL);
	SHOW(sigaltstack, NOWHERE, NULL);
	SHOW(sigaltstack, NULL, NOWHERE);
	return 0;
}
