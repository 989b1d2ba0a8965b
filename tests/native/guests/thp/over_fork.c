/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* fork(2) maps a huge page in both; the first who writes splits his entry and copies a small page. */
#include "thp.h"

static void child_does(const char *what, char *p, int writes)
{
	long pid = MUST(fork);

	if (!pid) {
		state(what, p, HUGE);
		if (writes) {
			FAULTS(p[5 * PAGE] = 'c');
			state(what, p, HUGE);
			FAULTS(p[6 * PAGE] = 'c');
		}
		FAULTS(look(p + 7 * PAGE));
		leave(0);
	}
	reap(pid);
}

int main(void)
{
	char *p = hugely(1, 0);
	long pid;
	int ends[2];
	char c;

	touch(p, HUGE);
	child_does("the child", p, 0);
	state("after the child", p, HUGE);
	FAULTS(p[0] = 'p');
	state("alone again", p, HUGE);
	child_does("a child that writes", p, 1);
	FAULTS(p[5 * PAGE] = 'p');
	state("alone again", p, HUGE);
	print("%c %c\n", p[5 * PAGE], p[6 * PAGE]);

	MUST(pipe, ends);
	pid = MUST(fork);
	if (!pid) {
		SYS(close, ends[1]);
		SYS(read, ends[0], &c, 1);
		print("the child sees %c %c\n", p[5 * PAGE], p[6 * PAGE]);
		state("in the child", p, HUGE);
		FAULTS(p[5 * PAGE] = 'd');
		FAULTS(p[8 * PAGE] = 'd');
		state("in the child", p, HUGE);
		leave(0);
	}
	FAULTS(p[5 * PAGE] = 'q');
	FAULTS(p[9 * PAGE] = 'q');
	state("in the parent", p, HUGE);
	MUST(close, ends[1]);
	reap(pid);
	FAULTS(p[10 * PAGE] = 'q');
	FAULTS(p[5 * PAGE] = 'q');
	state("at last", p, HUGE);

	p = hugely(1, 0);
	look(p);
	child_does("of zeros", p, 1);
	FAULTS(p[0] = 1);
	state("of zeros", p, HUGE);

	p = hugely(1, 0);
	touch(p, HUGE);
	SHOW(madvise, p, MIB2, MADV_DONTFORK);
	pid = MUST(fork);
	if (!pid) {
		SAY(figure(p, "Rss")); /* -1: there is no such mapping */
		leave(0);
	}
	reap(pid);
	return 0;
}
