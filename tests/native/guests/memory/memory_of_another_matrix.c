/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of another process, of every kind: process_vm_readv(2) and _writev, /proc/PID/mem and ptrace(2), on three of
 * four pages and on each, and what it leaves.
 */
// since: 6.18
// needs: proc
#define WHOLE_LINES
#include "kinds.h"
#include <sys/ptrace.h>

static const char *const ways[] = { "readv", "writev", "read", "write", "peek", "poke", "peek across", "poke across" };
static char buffer[4 * PAGE];
static int memory, pagemap;

static long reach(int way, long pid, char *p, u64 size)
{
	struct iovec here = { buffer, size }, there = { p, size };
	long word = 0x6262626262626262, result;

	memset(buffer, 'b', sizeof(buffer));
	switch (way) {
	case 0:
		return SYS(process_vm_readv, pid, &here, 1, &there, 1, 0);
	case 1:
		return SYS(process_vm_writev, pid, &here, 1, &there, 1, 0);
	case 2:
		return SYS(pread64, memory, buffer, size, p);
	case 3:
		return SYS(pwrite64, memory, buffer, size, p);
	case 4:
	case 6:
		result = SYS(ptrace, PTRACE_PEEKDATA, pid, p + (way == 6 ? PAGE - 4 : 0), buffer);
		return result < 0 ? result : 8;
	default:
		result = SYS(ptrace, PTRACE_POKEDATA, pid, p + (way == 7 ? PAGE - 4 : 0), word);
		return result < 0 ? result : 8;
	}
}

/* /proc/PID/NAME of another. */
static int open_of(long pid, const char *name, int flags)
{
	char path[40] = "/proc/", digits[12];
	int n = 6, m = 0;

	for (long rest = pid; rest; rest /= 10)
		digits[m++] = '0' + rest % 10;
	while (m)
		path[n++] = digits[--m];
	memcpy(path + n, name, strlen(name) + 1);
	return MUST(open, path, flags);
}

static void try(int kind, int way)
{
	char *p = area();
	int status;
	long pid = MUST(fork);

	if (!pid) {
		make(kind, p);
		if (way >= 4)
			MUST(ptrace, PTRACE_TRACEME, 0, 0, 0);
		SYS(kill, SYS(getpid), SIGSTOP);
		for (;;)
			SYS(pause);
	}
	MUST(wait4, pid, &status, WUNTRACED, 0);
	memory = open_of(pid, "/mem", O_RDWR);
	pagemap = open_of(pid, "/pagemap", O_RDONLY);
	print("  %s:", ways[way]);
	for (int at = 0; at < 4; at++) {
		long first = faults(), result = reach(way, pid, p + at * PAGE, way >= 4 ? 8 : at ? PAGE : 3 * PAGE);

		first = faults() - first;
		if (result < 0)
			print(" %s", errno_name(-result));
		else
			print(" %ld", result);
		if (way < 4)
			print("/%ld", first);
	}
	print(" [");
	for (int i = 0; i < 4; i++) {
		u64 word = 0;

		MUST(pread64, pagemap, &word, 8, (u64)(p + i * PAGE) / PAGE * 8);
		print(" %lx", word >> 55);
	}
	print(" ] %d %d\n", buffer[0], buffer[PAGE]);
	MUST(close, memory);
	MUST(close, pagemap);
	MUST(kill, pid, SIGKILL);
	MUST(wait4, pid, 0, 0, 0);
	MUST(pwrite64, file, "F", 1, 0);
}

int main(void)
{
	u64 one = 1;

	SYS(sched_setaffinity, 0, 8, &one);
	make_files();
	memset(buffer, 0, sizeof(buffer));
	for (u32 kind = 0; kind < COUNT(kinds); kind++) {
		print("%s\n", kinds[kind]);
		for (u32 way = 0; way < COUNT(ways); way++)
			try(kind, way);
	}
	return 0;
}
