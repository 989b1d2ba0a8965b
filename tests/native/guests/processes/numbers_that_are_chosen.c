/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clone3(2) with set_tid: which number may be had, and by whom. */
// needs: root
#include "native.h"
#include <linux/sched.h>

static int wanted[33];

static void try(const char *what, int number, u64 size, u64 exit_signal)
{
	struct clone_args args = { .set_tid = (u64)wanted, .set_tid_size = size, .exit_signal = exit_signal };

	wanted[0] = number;
	long pid = SYS(clone3, &args, sizeof(args));
	if (!pid)
		leave(SYS(getpid) == number ? 7 : 8);
	print("%s: %s\n", what, pid > 0 ? (pid == number ? "that number" : "another") : result_name(pid));
	if (pid > 0)
		reap(pid);
}

int main(void)
{
	struct clone_args nowhere = { .set_tid = 16, .set_tid_size = 1 };
	struct clone_args none = { .set_tid_size = 1 };
	long pid = MUST(fork);

	if (!pid)
		leave(0);
	reap(pid);
	try("one that was there", pid, 1, SIGCHLD);
	try("and again", pid, 1, SIGCHLD);
	try("one's own", SYS(getpid), 1, SIGCHLD);
	try("0", 0, 1, SIGCHLD);
	try("-1", -1, 1, SIGCHLD);
	try("the end of all numbers", 1 << 22, 1, SIGCHLD);
	try("a level more than there are", pid, 33, SIGCHLD);
	try("no level", pid, 0, SIGCHLD);
	SHOW(clone3, &none, sizeof(none));
	SHOW(clone3, &nowhere, sizeof(nowhere));
	become(1000);
	try("a user", pid, 1, SIGCHLD);
	try("0 for a user", 0, 1, SIGCHLD);
	return 0;
}
