/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* UFFDIO_WRITEPROTECT: what becomes protected, through mprotect, fork, mremap and discarding, and what writes do then. */
#include "uffd.h"

static char source[PAGE] __attribute__((aligned(4096)));

static void fill(char *p)
{
	for (int i = 0; i < 4; i++)
		write_byte(p + i * PAGE, 'a');
	read_byte(p + 4 * PAGE);
}

static void one(const char *name, u64 features, int flags)
{
	int fd = uffd_open(features);
	char *p = anonymous(16 * PAGE, flags);

	print("%s\n", name);
	MUST(madvise, p, 16 * PAGE, MADV_NOHUGEPAGE);
	fill(p);
	SAY(uffd_protect(fd, p, PAGE, PROTECT));
	SAY(uffd_register(fd, p, 8, WP));
	SAY(uffd_protect(fd, p, 6 * PAGE, PROTECT));
	show_pages("protected", p, 8);
	SAY(read_byte(p));
	SAY(write_byte(p, 'b'));
	SAY(write_byte(p + 4 * PAGE, 'b'));
	SAY(write_byte(p + 5 * PAGE, 'b'));
	show_pages("written", p, 8);
	SAY(uffd_protect(fd, p, PAGE, PROTECT));
	MUST(mprotect, p, PAGE, PROT_READ);
	show_pages("read-only", p, 1);
	MUST(mprotect, p, PAGE, PROT_READ | PROT_WRITE);
	SAY(write_byte(p, 'c'));
	MUST(mprotect, p, PAGE, PROT_NONE);
	show_pages("no rights", p, 1);
	MUST(mprotect, p, PAGE, PROT_READ | PROT_WRITE);
	SAY(uffd_protect(fd, p, 6 * PAGE, PROTECT));
	if (!MUST(fork)) {
		show_pages("child", p, 8);
		SAY(write_byte(p + PAGE, 'c'));
		leave(0);
	}
	reap(-1);
	show_pages("parent", p, 8);
	SAY(uffd_protect(fd, p, 2 * PAGE, 0));
	show_pages("two are free", p, 8);
	SAY(write_byte(p, 'd'));
	SAY(uffd_protect(fd, p, 8 * PAGE, PROTECT));
	MUST(madvise, p + 2 * PAGE, PAGE, MADV_DONTNEED);
	show_pages("one discarded", p, 8);
	SAY(read_byte(p + 2 * PAGE));
	show_pages("and read", p, 8);
	SAY(write_byte(p + 2 * PAGE, 'e'));
	SAY(uffd_protect(fd, p, 9 * PAGE, PROTECT));
	SAY(uffd_protect(fd, p, PAGE, 3));
	SAY(uffd_protect(fd, p, PAGE, 4));
	SAY(uffd_protect(fd, p, 0, PROTECT));
	SAY(uffd_protect(fd, p + 1, PAGE, PROTECT));
	SAY(uffd_protect(fd, (void *)0x100000, PAGE, PROTECT));
	SAY(uffd_register(fd, p, 8, WP | MISSING));
	uffd_copy(fd, p + 7 * PAGE, source, PAGE, COPY_WP);
	uffd_copy(fd, p + 6 * PAGE, source, PAGE, 0);
	show_pages("copied", p, 8);
	SAY(write_byte(p + 7 * PAGE, 'f'));
	SAY(write_byte(p + 6 * PAGE, 'f'));
	char *to = anonymous(8 * PAGE, flags);
	SAY(uffd_protect(fd, p, 8 * PAGE, PROTECT));
	MUST(mremap, p, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	show_pages("moved", to, 8);
	SAY(write_byte(to, 'g'));
	SAY(uffd_register(fd, to, 8, WP));
	SAY(uffd_protect(fd, to, 8 * PAGE, PROTECT));
	u64 range[2] = { (u64)to, 4 * PAGE };
	SHOW(ioctl, fd, UNREGISTER, range);
	show_pages("half unregistered", to, 8);
	SAY(write_byte(to, 'h'));
	SAY(write_byte(to + 4 * PAGE, 'h'));
	MUST(close, fd);
	show_pages("closed", to, 8);
	SAY(write_byte(to + 4 * PAGE, 'h'));
	MUST(munmap, to, 8 * PAGE);
}

int main(void)
{
	pages_begin();
	one("private", F_SIGBUS, MAP_PRIVATE);
	one("private, unpopulated too", F_SIGBUS | F_UNPOPULATED, MAP_PRIVATE);
	one("private, asynchronous", F_SIGBUS | F_ASYNC, MAP_PRIVATE);
	one("shared", F_SIGBUS, MAP_SHARED);
	one("shared, asynchronous", F_SIGBUS | F_ASYNC, MAP_SHARED);
	return 0;
}
