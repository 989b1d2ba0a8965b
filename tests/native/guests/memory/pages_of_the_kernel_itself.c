/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.16
/* What the kernel maps into a program: the pages of data are no memory of the program's and are copied by fork. */
#include "mappings.h"

static char *start_of(const char *name)
{
	const char *found;

	read_all("/proc/self/maps");
	found = find(native_maps, name);
	while (found > native_maps && found[-1] != '\n')
		found--;
	return (char *)number_at(&found, 16);
}

static void around(char *p)
{
	long resident = status("VmRSS"), before;

	resident = status("VmRSS");
	before = faults();
	look(p);
	print("%ld faults, resident %ld more\n", faults() - before, status("VmRSS") - resident);
}

int main(void)
{
	char *data = start_of("[vvar]"), *code = start_of("[vdso]"), byte;
	int memory = MUST(open, "/proc/self/mem", O_RDWR), ends[2];
	struct iovec here = { &byte, 1 }, there = { data, 1 };
	long pid;

	MUST(pipe2, ends, 0);
	print("data\n");
	around(data);
	around(data);
	show_pages("data", data, 4);
	print("Rss %ld\n", figure(data, "Rss"));
	SHOW(pread64, memory, &byte, 1, data);
	SHOW(process_vm_readv, SYS(getpid), &here, 1, &there, 1, 0);
	SHOW(write, ends[1], data, 4);
	SHOW(madvise, data, PAGE, MADV_DONTNEED);
	SHOW(madvise, data, PAGE, MADV_REMOVE);
	SHOW(madvise, data, PAGE, MADV_DOFORK);
	print("code\n");
	around(code + PAGE);
	SHOW(madvise, code, PAGE, MADV_REMOVE);
	SHOW(madvise, code, PAGE, MADV_DONTNEED);
	pid = MUST(fork);
	if (!pid) {
		print("child\n");
		around(data);
		show_pages("data", data, 4);
		leave(0);
	}
	MUST(wait4, pid, 0, 0, 0);
	return 0;
}
