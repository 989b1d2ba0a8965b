/* SPDX-License-Identifier: GPL-2.0-or-later */
/* futex(2): EINTR without SA_RESTART, and with a time always. */
#include "native.h"

static void on_signal(int signo)
{
	(void)signo;
}
static volatile u32 word;

int main(void)
{
	struct timespec t = { 100, 0 };
	handle(SIGUSR1, on_signal, 0);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(futex, &word, FUTEX_WAIT, 0, NULL);
	SHOW(futex, &word, FUTEX_WAIT, 0, &t);
	SHOW(futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 1);
	handle(SIGUSR1, on_signal, SA_RESTART);
	SHOW(futex, &word, FUTEX_WAIT, 0, &t);
	end_child(pid);
	return 0;
}
