/* SPDX-License-Identifier: GPL-2.0-or-later */
/* read(2) of pipes, eventfds, signalfds, timerfds and inotify, write(2) to a full pipe. */
#include "native.h"
#include <sys/eventfd.h>

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	static char room[65536];
	u64 value, mask = SIGNAL_BIT(SIGTERM);
	int fds[2];
	MUST(pipe2, fds, 0);
	int event = MUST(eventfd2, 0, 0), sig = MUST(signalfd4, -1, &mask, 8, 0);
	int timer = MUST(timerfd_create, CLOCK_MONOTONIC, 0), watch = MUST(inotify_init1, 0);
	handle(SIGUSR1, on_signal, 0);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(read, fds[0], room, 1);
	SHOW(read, event, &value, 8);
	SHOW(read, sig, room, 128);
	SHOW(read, timer, &value, 8);
	SHOW(read, watch, room, 1000);
	SHOW(write, fds[1], room, sizeof(room));
	SHOW(write, fds[1], room, 1);
	SHOW(read, fds[0], room, 8192);
	SHOW(write, fds[1], room, 20000);
	end_child(pid);
	return 0;
}
