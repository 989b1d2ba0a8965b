/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_NPROC counts a user's processes in each user namespace, and those that he has made around. */
// needs: root, namespaces
#include "native.h"

static int ends[2];

static long another(void)
{
	long pid = SYS(fork);
	char c;

	if (!pid) {
		SYS(close, ends[1]);
		SYS(read, ends[0], &c, 1);
		leave(0);
	}
	return pid > 0 ? 0 : pid;
}

int main(void)
{
	struct rlimit limit = { 3, 3 };
	long pid;

	MUST(pipe, ends);
	become(54321);
	MUST(setrlimit, RLIMIT_NPROC, &limit);
	show("second", another());
	show("third", another());
	show("fourth", another());
	MUST(close, ends[1]);
	SYS(wait4, -1, NULL, 0, NULL);
	SYS(wait4, -1, NULL, 0, NULL);
	MUST(pipe, ends);
	pid = MUST(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		show("third", another());
		show("fourth", another());
		SYS(close, ends[1]);
		SYS(wait4, -1, NULL, 0, NULL);
		leave(0);
	}
	print("first inside: %s\n", result_name(pid > 0 ? 0 : pid));
	MUST(close, ends[1]);
	reap(pid);
	return 0;
}
