/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): inherited events count what children do, and go on when these have ended. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

static void more(u32 pages)
{
	long child = MUST(fork);
	if (!child) {
		touch(pages);
		leave(0);
	}
	MUST(wait4, child, NULL, 0, 0);
}

static u64 plain(void)
{
	static int fd;
	if (!fd) {
		fd = event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1);
		MUST(ioctl, fd, ENABLE, 0);
	}
	return count(fd);
}

int main(void)
{
	event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1);
	attr.inherit = 1;
	int fd = MUST(perf_event_open, &attr, 0, -1, -1, 0);
	plain();
	MUST(ioctl, fd, ENABLE, 0);
	u64 before = count(fd), own = plain();
	more(100);
	u64 one = count(fd) - before - (plain() - own);
	print("%d\n", one >= 100 && one < 150);
	before = count(fd);
	MUST(ioctl, fd, DISABLE, 0);
	more(100);
	print("%lu\n", count(fd) - before);
	int ready[2];
	MUST(pipe, ready);
	MUST(ioctl, fd, ENABLE, 0);
	long child = MUST(fork);
	if (!child) {
		touch(100);
		MUST(write, ready[1], "x", 1);
		SYS(pause);
	}
	char byte;
	MUST(read, ready[0], &byte, 1);
	u64 while_alive = count(fd);
	print("%d\n", while_alive >= before + 100);
	MUST(kill, child, SIGKILL);
	MUST(wait4, child, NULL, 0, 0);
	print("%d\n", count(fd) >= while_alive);
	SHOW(ioctl, fd, RESET, 0);
	print("the dead are not forgotten: %d\n", count(fd) >= 100);
	return 0;
}
