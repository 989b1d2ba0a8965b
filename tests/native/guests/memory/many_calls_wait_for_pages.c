/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root
/* A hundred threads wait in read(2) for as many pages, and go on when these come; then they end while they wait. */
#include "uffd.h"

#define THREADS 100

static int fd, file;
static char *p;
static volatile int tids[THREADS], got[THREADS];

static int caller(u64 number)
{
	got[number] = SYS(pread64, file, p + number * PAGE, 1, 0);
	return 0;
}

static void begin(void)
{
	struct uffd_message message;

	fd = uffd_open(0);
	p = anonymous(THREADS * PAGE, MAP_PRIVATE);
	uffd_register(fd, p, THREADS, MISSING);
	for (int i = 0; i < THREADS; i++)
		thread(caller, i, &tids[i]);
	for (int i = 0; i < THREADS; i++)
		while (failed(SYS(read, fd, &message, sizeof(message))))
			SYS(sched_yield);
}

int main(void)
{
	file = MUST(memfd_create, "m", 0);
	MUST(write, file, "x", 1);
	begin();
	int stored = 0;
	for (int i = 0; i < THREADS; i++)
		uffd_three("zero", fd, ZEROPAGE, p + i * PAGE, PAGE, 0);
	for (int i = 0; i < THREADS; i++) {
		join(&tids[i]);
		stored += got[i] == 1 && p[i * PAGE] == 'x';
	}
	print("%d read\n", stored);
	long child = MUST(fork);
	if (!child) {
		begin();
		leave(3);
	}
	reap(child);
	return 0;
}
