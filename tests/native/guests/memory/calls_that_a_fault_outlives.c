/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root
/* A read or write of a pipe that waits for a userfaultfd, while others use pipes, or end it. */
#include "uffd.h"

static int fd, ends[2], writes;
static char *p;
static volatile int tid, got;

static int caller(u64 page)
{
	got = writes ? SYS(write, ends[1], p + page * PAGE, 5) : SYS(read, ends[0], p + page * PAGE, 5);
	return 0;
}

static void begin(void)
{
	struct uffd_message message;

	fd = uffd_open(0);
	p = anonymous(PAGE, MAP_PRIVATE);
	uffd_register(fd, p, 1, MISSING);
	MUST(pipe, ends);
	if (!writes)
		MUST(write, ends[1], "first", 5);
	thread(caller, 0, &tid);
	while (failed(SYS(read, fd, &message, sizeof(message))))
		SYS(sched_yield);
}

/* What could not be stored is still in the pipe, and nothing of another. */
static void fails(void)
{
	int others[2];
	char text[8] = "";

	writes = 0;
	begin();
	MUST(pipe, others);
	MUST(write, others[1], "second", 6);
	SHOW(read, others[0], text, 3);
	MUST(munmap, p, PAGE);
	MUST(close, fd);
	join(&tid);
	print("%s\n", result_name(got));
	memset(text, 0, sizeof(text));
	SHOW(read, ends[0], text, 8);
	print("%s\n", text);
	memset(text, 0, sizeof(text));
	SHOW(read, others[0], text, 8);
	print("%s\n", text);
}

static void ends_by(int exits)
{
	int told[2];
	char byte;

	MUST(pipe, told);
	long child = MUST(fork);
	if (!child) {
		begin();
		MUST(write, told[1], "x", 1);
		if (exits)
			leave(3);
		for (;;)
			SYS(pause);
	}
	MUST(read, told[0], &byte, 1);
	if (!exits)
		MUST(kill, child, SIGKILL);
	print("writes %d: ", writes);
	reap(child);
}

int main(void)
{
	fails();
	for (int i = 0; i < 4; i++) {
		writes = i & 1;
		ends_by(i >> 1 & 1);
	}
	return 0;
}
