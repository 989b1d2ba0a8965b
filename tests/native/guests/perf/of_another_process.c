/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): a child is counted from its execve(2) on, as perf stat does. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

int main(int argc, char **argv UNUSED)
{
	int go[2];
	char byte;
	if (argc > 1) {
		touch(200);
		return 0;
	}
	MUST(pipe, go);
	long child = MUST(fork);
	if (!child) {
		char *words[] = { "again", "x", NULL };
		MUST(read, go[0], &byte, 1);
		touch(1000);
		MUST(execve, "/proc/self/exe", words, NULL);
	}
	event(PERF_COUNT_SW_PAGE_FAULTS, 3, -1);
	attr.enable_on_exec = 1;
	int fd = MUST(perf_event_open, &attr, child, -1, -1, PERF_FLAG_FD_CLOEXEC);
	u64 got[3];
	MUST(read, fd, got, 24);
	print("%lu %lu %lu\n", got[0], got[1], got[2]);
	MUST(write, go[1], "x", 1);
	reap(child);
	SHOW(read, fd, got, 24);
	print("%d %d %d\n", got[0] >= 200 && got[0] < 300, got[1] > 0, got[1] == got[2]);
	u64 before = got[0];
	SHOW(ioctl, fd, ENABLE, 0);
	MUST(read, fd, got, 24);
	print("%d\n", got[0] == before);
	SHOW(ioctl, fd, RESET, 0);
	MUST(read, fd, got, 24);
	print("%lu\n", got[0]);
	struct pollfd wait = { fd, POLLIN, 0 };
	SHOW(poll, &wait, 1, 0);
	print("%x\n", wait.revents);
	SHOW(perf_event_open, &attr, child, -1, -1, 0);
	SHOW(perf_event_open, &attr, -2, -1, -1, 0);
	return 0;
}
