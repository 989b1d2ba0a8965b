/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What reading and writing a process's memory from outside does to it: process_vm_readv(2) makes a page its own that
 * fork has shared, /proc/PID/mem writes to what cannot be written, and only the latter lets a stack grow.
 */
// since: 6.18
// needs: proc
#include "mappings.h"

static char buffer[8 * PAGE];
static struct iovec here = { buffer, PAGE }, there;

static long fetch(char *p, u64 size)
{
	there = (struct iovec){ p, size }, here.iov_len = size;
	return SYS(process_vm_readv, SYS(getpid), &here, 1, &there, 1, 0);
}

static long store(char *p, u64 size)
{
	there = (struct iovec){ p, size }, here.iov_len = size;
	return SYS(process_vm_writev, SYS(getpid), &here, 1, &there, 1, 0);
}

int main(void)
{
	int memory = MUST(open, "/proc/self/mem", O_RDWR), file = file_of(4);
	char *p = fresh(4), *q;
	long child;

	memset(buffer, 'b', sizeof(buffer));
	touch(p, 3);
	child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	memset(buffer, 'b', sizeof(buffer));
	show_pages("shared with a child", p, 4);
	FAULTS(fetch(p, 2 * PAGE));
	show_pages("two have been read", p, 4);
	print("%ld kB clean\n", figure(p, "Private_Clean"));
	FAULTS(fetch(p, 2 * PAGE));
	FAULTS(fetch(p + 3 * PAGE, PAGE));
	FAULTS(store(p + PAGE, 2 * PAGE));
	show_pages("two have been written", p, 4);
	FAULTS(SYS(pread64, memory, buffer, 3 * PAGE, p));
	touch(p, 1);
	MUST(kill, child, SIGKILL);
	MUST(wait4, child, 0, 0, 0);

	p = at(area(), 4, PROT_READ, PRIVATE, -1, 0);
	FAULTS(SYS(pwrite64, memory, buffer, 2 * PAGE, p + 100));
	FAULTS(SYS(pwrite64, memory, buffer, 2 * PAGE, p + 100));
	show_pages("written by force", p, 4);
	SAY(store(p, PAGE));
	MUST(mprotect, p, 4 * PAGE, RW);
	FAULTS(touch(p, 4));
	p = at(area(), 4, PROT_NONE, PRIVATE, -1, 0);
	FAULTS(SYS(pread64, memory, buffer, 2 * PAGE, p));
	FAULTS(SYS(pwrite64, memory, buffer, 2 * PAGE, p + PAGE));
	show_pages("of no rights", p, 4);
	SAY(fetch(p, PAGE));
	p = at(area(), 4, PROT_READ, MAP_PRIVATE, file, 0);
	FAULTS(SYS(pwrite64, memory, buffer, 2 * PAGE, p + PAGE));
	show_pages("a private mapping of a file", p, 4);
	p = at(area(), 4, PROT_READ, MAP_SHARED, file, 0);
	SHOW(pwrite64, memory, buffer, 2 * PAGE, p + PAGE);
	show_pages("a shared one", p, 4);
	p = fresh(4);
	MUST(munmap, p + 2 * PAGE, PAGE);
	SAY(fetch(p, 4 * PAGE));
	SAY(store(p + 100, 4 * PAGE));
	SAY(fetch(p + 2 * PAGE, PAGE));
	SAY(SYS(pread64, memory, buffer, 4 * PAGE, p + 100));
	SAY(SYS(pwrite64, memory, buffer, 4 * PAGE, p + 100));
	SHOW(pread64, memory, buffer, PAGE, p + 2 * PAGE);
	SHOW(pwrite64, memory, buffer, PAGE, p + 2 * PAGE + 4);

	q = at(area(), 4, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
	SAY(fetch(q - PAGE, PAGE));
	SAY(store(q - PAGE, 2 * PAGE));
	show_maps("not from outside", q - 16 * PAGE, 20);
	SAY(SYS(pread64, memory, buffer, PAGE, q - PAGE));
	show_maps("read", q - 16 * PAGE, 20);
	SAY(SYS(pwrite64, memory, buffer, PAGE, q - 3 * PAGE + 8));
	show_maps("written", q - 16 * PAGE, 20);
	show_pages("of which are there", q - 3 * PAGE, 7);
	return 0;
}
