/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* /proc/PID/mem reads and writes whatever a mapping allows (FOLL_FORCE), process_vm_readv and _writev do not. */
#include "pages.h"

static int mem;

static void try(const char *what, char *p)
{
	char byte[2] = "z";
	struct iovec local = { byte, 1 }, remote = { p, 1 };
	long got = SYS(pread64, mem, byte, 1, p);
	print("%s: read %s %x", what, result_name(got), failed(got) ? 0 : byte[0]);
	byte[0] = 'W';
	print(", write %s", result_name(SYS(pwrite64, mem, byte, 1, p)));
	print(", readv %s", result_name(SYS(process_vm_readv, SYS(getpid), &local, 1, &remote, 1, 0)));
	print(", writev %s\n", result_name(SYS(process_vm_writev, SYS(getpid), &local, 1, &remote, 1, 0)));
}

int main(void)
{
	pages_begin();
	mem = MUST(open, "/proc/self/mem", O_RDWR);
	char *p = anonymous(8 * PAGE, MAP_PRIVATE), page[3];
	MUST(madvise, p, 8 * PAGE, MADV_NOHUGEPAGE);
	p[2 * PAGE] = p[4 * PAGE] = 1;
	static const int rights[] = { 3, 1, 1, 0, 0, 4, 2, 3 };
	for (int i = 0; i < 8; i++)
		MUST(mprotect, p + i * PAGE, PAGE, rights[i]);
	MUST(madvise, p + 7 * PAGE, PAGE, 102);
	for (int i = 0; i < 8; i++) {
		print("rights %d ", rights[i]);
		try("page", p + i * PAGE);
	}
	show_pages("pages", p, 8);
	int fd = MUST(memfd_create, "m", 0);
	MUST(pwrite64, fd, "x", 1, 3 * PAGE);
	for (int i = 0; i < 2; i++) {
		char *s = (void *)MUST(mmap, 0, 4 * PAGE, i, MAP_SHARED, fd, 0);
		char *v = (void *)MUST(mmap, 0, 8 * PAGE, i, MAP_PRIVATE, fd, 0);
		try("shared", s);
		try("private", v);
		try("behind the end", v + 5 * PAGE);
		show_pages("private", v, 4);
	}
	try("nothing", (char *)0x100000);
	try("vsyscall", (char *)0xffffffffff600000);
	SHOW(pread64, mem, page, 3, p + 7 * PAGE - 2);
	SHOW(pwrite64, mem, page, 3, p + 7 * PAGE - 2);
	SHOW(pread64, mem, NOWHERE, 3, p);
	SHOW(pwrite64, mem, NOWHERE, 3, p);
	SHOW(pread64, mem, page, 0, 0x100000);
	SHOW(lseek, mem, 4096, SEEK_SET);
	SHOW(lseek, mem, 4, SEEK_CUR);
	SHOW(lseek, mem, 0, SEEK_END);
	SHOW(ftruncate, mem, 0);
	int pagemap = MUST(open, "/proc/self/pagemap", O_RDONLY);
	SHOW(lseek, pagemap, 4096, SEEK_SET);
	SHOW(lseek, pagemap, 0, SEEK_END);
	return 0;
}
