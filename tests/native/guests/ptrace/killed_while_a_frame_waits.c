/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root
/* A traced process whose signal frame waits for a userfaultfd does not stop any more when it is killed. */
#include "uffd.h"

#define PTRACE_SEIZE 0x4206
#define PTRACE_INTERRUPT 0x4207
#define STACK (8 * PAGE)

static void on_signal(int signo) { (void)signo; }

int main(void)
{
	struct uffd_message message;
	int fd = uffd_open(0), status = 0;
	char *p = anonymous(STACK, MAP_PRIVATE), byte;
	int told[2];

	MUST(pipe, told);
	long child = MUST(fork);
	if (!child) {
		struct { void *sp; int flags; u64 size; } stack = { p, 0, STACK };
		MUST(close, fd);
		fd = uffd_open(0);
		uffd_register(fd, p, STACK / PAGE, MISSING);
		MUST(sigaltstack, &stack, NULL);
		handle(SIGUSR1, on_signal, 0x08000000 /* SA_ONSTACK */);
		if (!MUST(fork)) { /* a new userfaultfd has no say in a child: only its descriptor is there */
			while (failed(SYS(read, fd, &message, sizeof(message))))
				SYS(sched_yield);
			MUST(write, told[1], "x", 1);
			leave(0);
		}
		MUST(kill, SYS(getpid), SIGUSR1);
		leave(0);
	}
	MUST(read, told[0], &byte, 1);
	SHOW(ptrace, PTRACE_SEIZE, child, 0, 0);
	SHOW(ptrace, PTRACE_INTERRUPT, child, 0, 0);
	SHOW(kill, child, SIGKILL);
	MUST(wait4, child, &status, 0x40000000 /* __WALL */, NULL);
	print("status %x\n", status);
	return 0;
}
