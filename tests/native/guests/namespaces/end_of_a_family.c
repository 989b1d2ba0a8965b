/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first process of a PID namespace ends before its children, theirs, and those of who has joined it. */
// needs: root, namespaces
#include "native.h"
#include <linux/prctl.h>

static int ends[2];

static void step(void) { MUST(write, ends[1], "x", 1); }

static void await(int times)
{
	char c;

	while (times--)
		MUST(read, ends[0], &c, 1);
}

static void wait_for_ever(void)
{
	step();
	for (;;)
		SYS(pause);
}

/* A process with two children, of which each has one. */
static void family(void)
{
	for (int i = 0; i < 2; i++) {
		if (!MUST(fork)) {
			if (!MUST(fork))
				wait_for_ever();
			wait_for_ever();
		}
	}
	wait_for_ever();
}

static void end_of_one(int subreaper)
{
	long pid, joined, inside;
	int fd;

	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		if (subreaper)
			SHOW(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		if (!MUST(fork))
			family();
		wait_for_ever();
	}
	await(6);
	fd = MUST(pidfd_open, pid, 0);
	joined = MUST(fork);
	if (!joined) {
		SHOW(setns, fd, CLONE_NEWPID);
		inside = MUST(fork);
		if (!inside)
			family();
		reap(inside);
		SHOW(fork);
		leave(3);
	}
	await(5);
	SHOW(kill, pid, SIGKILL);
	reap(joined);
	reap(pid);
	MUST(close, fd);
}

int main(void)
{
	MUST(pipe, ends);
	end_of_one(0);
	end_of_one(1);
	return 0;
}
