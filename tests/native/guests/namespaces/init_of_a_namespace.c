/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first process of a PID namespace: which signals it gets, and what its end ends. */
// needs: root, namespaces
#include "native.h"

static volatile int handled;
static volatile int sender = -1;

static void handler(int signo, siginfo_t *info, UNUSED void *context)
{
	handled = signo;
	sender = info->si_pid;
}

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

static int ends[2], back[2];

static int init(void)
{
	long pid;

	SHOW(kill, 1, SIGTERM);
	SHOW(kill, 1, SIGKILL);
	SHOW(kill, 1, SIGSTOP);
	handle(SIGUSR1, (void *)handler, SA_SIGINFO | SA_RESTART);
	SHOW(kill, 1, SIGUSR1);
	print("handled %s from %d\n", signal_name(handled), sender);
	pid = MUST(fork);
	if (!pid) {
		SHOW(kill, 1, SIGTERM);
		SHOW(kill, 1, SIGKILL);
		SHOW(kill, -1, SIGKILL);
		leave(0);
	}
	reap(pid);
	handled = 0;
	step(ends[1]);
	await(back[0]);
	print("handled %s from %d\n", signal_name(handled), sender);
	print("alive\n");
	pid = MUST(fork);
	if (!pid) {
		SYS(setsid);
		for (;;)
			SYS(pause);
	}
	step(ends[1]);
	for (;;)
		SYS(pause);
}

int main(void)
{
	long pid;

	MUST(pipe, ends);
	MUST(pipe, back);
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		leave(init());
	await(ends[0]);
	SHOW(kill, pid, SIGTERM);
	SHOW(kill, pid, SIGUSR1);
	step(back[1]);
	await(ends[0]);
	SHOW(kill, pid, SIGKILL);
	reap(pid);
	MUST(close, ends[1]);
	{
		char c;
		SHOW(read, ends[0], &c, 1); /* nobody else is left */
	}
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		volatile int *volatile nowhere = NOWHERE;

		*nowhere = 0;
		leave(0);
	}
	reap(pid);
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		SHOW(reboot, 0xfee1dead, 672274793, 0x89ABCDEF, 0);
		SYS(reboot, 0xfee1dead, 672274793, 0x01234567, 0);
		leave(0);
	}
	reap(pid);
	pid = MUST(clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		SYS(reboot, 0xfee1dead, 672274793, 0xCDEF0123, 0);
		leave(0);
	}
	reap(pid);
	return 0;
}
