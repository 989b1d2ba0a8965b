/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root, proc, namespaces
/* A process joins the time namespace that it has made, and ends in it; /proc/stat says another btime there. */
#include "native.h"

/* The number behind "btime ". */
static long btime(void)
{
	static char text[16384];
	long fd = MUST(open, "/proc/stat", O_RDONLY), n = MUST(read, fd, text, sizeof(text) - 1), value = 0;

	MUST(close, fd);
	text[n] = 0;
	for (char *at = text; *at; at++)
		if (!memcmp(at, "btime ", 6))
			for (at += 6; *at >= '0' && *at <= '9'; at++)
				value = value * 10 + *at - '0';
	return value;
}

static void join_and_end(void)
{
	long before = btime(), fd, apart;
	struct timespec first, then;

	MUST(unshare, CLONE_NEWTIME);
	fd = MUST(open, "/proc/self/timens_offsets", O_WRONLY);
	MUST(write, fd, "boottime 864000 0\nmonotonic 864000 0\n", 37);
	MUST(clock_gettime, CLOCK_MONOTONIC, &first);
	fd = MUST(open, "/proc/self/ns/time_for_children", O_RDONLY);
	SHOW(setns, fd, CLONE_NEWTIME);
	MUST(clock_gettime, CLOCK_MONOTONIC, &then);
	print("%ld days later\n", (then.tv_sec - first.tv_sec) / 86400);
	apart = before - btime();
	print("booted %s earlier\n", apart >= 863999 && apart <= 864001 ? "ten days" : "not ten days");
	leave(3);
}

int main(void)
{
	long pid = MUST(fork);

	if (!pid)
		join_and_end();
	reap(pid);
	join_and_end();
	return 0;
}
