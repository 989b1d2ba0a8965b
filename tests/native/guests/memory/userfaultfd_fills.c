/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* UFFDIO_COPY, ZEROPAGE, CONTINUE, POISON and MOVE: what they put where, and what they refuse. */
#include "uffd.h"

static char source[2 * PAGE] __attribute__((aligned(4096)));

static void accesses(const char *what, char *p)
{
	int r = read_byte(p), code = pages_signal ? pages_code : 0, lsb = pages_lsb;

	print("%s: %d code %d lsb %d\n", what, r, code, lsb);
}

int main(void)
{
	pages_begin();
	memset(source, 's', sizeof(source));
	int fd = uffd_open(F_SIGBUS);
	char *p = anonymous(16 * PAGE, MAP_PRIVATE), *q = anonymous(8 * PAGE, MAP_PRIVATE);
	MUST(madvise, p, 16 * PAGE, MADV_NOHUGEPAGE);
	SAY(uffd_register(fd, p, 16, MISSING));
	accesses("missing", p);
	uffd_copy(fd, p, source, PAGE, 0);
	accesses("copied", p);
	uffd_copy(fd, p, source, PAGE, 0);
	uffd_copy(fd, p + PAGE, source, 2 * PAGE, 0);
	uffd_copy(fd, p + 2 * PAGE, source, 2 * PAGE, 0);
	uffd_copy(fd, p + 3 * PAGE, source + 5, PAGE, 0);
	accesses("unaligned source", p + 3 * PAGE);
	write_byte(p + 3 * PAGE, 'w');
	uffd_copy(fd, p + 4 * PAGE, source, 0, 0);
	uffd_copy(fd, p + 4 * PAGE, source, 100, 0);
	uffd_copy(fd, p + 4 * PAGE + 1, source, PAGE, 0);
	uffd_copy(fd, p + 4 * PAGE, NOWHERE, PAGE, 0);
	uffd_copy(fd, p + 4 * PAGE, (void *)(1UL << 47), PAGE, 0);
	uffd_copy(fd, p + 4 * PAGE, source, PAGE, COPY_WP);
	uffd_copy(fd, p + 4 * PAGE, source, PAGE, 4);
	uffd_copy(fd, p + 15 * PAGE, source, 2 * PAGE, 0);
	uffd_copy(fd, q, source, PAGE, 0);
	uffd_copy(fd, NOWHERE, source, PAGE, 0);
	uffd_copy(fd, (void *)0x100000, source, PAGE, 0);
	SHOW(ioctl, fd, COPY, NOWHERE);
	SAY(uffd_protect(fd, p, PAGE, PROTECT));
	uffd_three("zero", fd, ZEROPAGE, p + 5 * PAGE, PAGE, 0);
	uffd_three("zero", fd, ZEROPAGE, p + 4 * PAGE, 2 * PAGE, 0);
	uffd_three("zero", fd, ZEROPAGE, p + 5 * PAGE, PAGE, 0);
	uffd_three("zero", fd, ZEROPAGE, p + 5 * PAGE, PAGE, 2);
	uffd_three("continue", fd, CONTINUE, p + 6 * PAGE, PAGE, 0);
	uffd_three("poison", fd, POISON, p + 6 * PAGE, 2 * PAGE, 0);
	uffd_three("poison", fd, POISON, p + 6 * PAGE, PAGE, 0);
	uffd_three("poison", fd, POISON, p, PAGE, 0);
	uffd_three("poison", fd, POISON, q, PAGE, 0);
	uffd_three("poison", fd, POISON, p + 6 * PAGE, PAGE, 2);
	accesses("poisoned", p + 6 * PAGE);
	SHOW(madvise, p + 6 * PAGE, PAGE, MADV_POPULATE_READ);
	show_pages("private", p, 16);
	SHOW(madvise, p + 6 * PAGE, PAGE, MADV_DONTNEED);
	accesses("poisoned and discarded", p + 6 * PAGE);
	SHOW(madvise, p + 7 * PAGE, PAGE, MADV_FREE);
	accesses("poisoned and freed", p + 7 * PAGE);
	SHOW(madvise, p + 8 * PAGE, PAGE, 102);
	uffd_copy(fd, p + 8 * PAGE, source, PAGE, 0);
	accesses("copied over a guard", p + 8 * PAGE);
	uffd_three("poison", fd, POISON, p + 9 * PAGE, PAGE, 0);
	uffd_copy(fd, p + 9 * PAGE, source, PAGE, 0);
	accesses("copied over poison", p + 9 * PAGE);

	char *r = anonymous(8 * PAGE, MAP_PRIVATE);
	memset(r, 'r', 3 * PAGE);
	read_byte(r + 4 * PAGE);
	uffd_move(fd, p + 10 * PAGE, r, PAGE, 0);
	uffd_move(fd, p + 10 * PAGE, r + PAGE, PAGE, 0);
	uffd_move(fd, p + 11 * PAGE, r + PAGE, 3 * PAGE, 0);
	uffd_move(fd, p + 13 * PAGE, r + 3 * PAGE, 2 * PAGE, HOLES);
	uffd_move(fd, p + 15 * PAGE, r + 3 * PAGE, PAGE, 0);
	uffd_move(fd, p + 15 * PAGE, r + 3 * PAGE, PAGE, 4);
	uffd_move(fd, q, r + 3 * PAGE, PAGE, 0);
	uffd_move(fd, p + 15 * PAGE, p, PAGE, 0);
	uffd_move(fd, p + 15 * PAGE, r + 7 * PAGE, 2 * PAGE, 0);
	uffd_move(fd, p + 15 * PAGE, (void *)0x100000, PAGE, 0);
	r[5 * PAGE] = 1;
	MUST(mprotect, r + 5 * PAGE, PAGE, PROT_READ);
	uffd_move(fd, p + 5 * PAGE, r + 5 * PAGE, PAGE, 0);
	r[6 * PAGE] = 1;
	if (!MUST(fork)) {
		sleep_ms(100);
		print("child %d\n", r[6 * PAGE]);
		accesses("child, missing", p + 4 * PAGE);
		leave(0);
	}
	MUST(madvise, p + 15 * PAGE, PAGE, MADV_DONTNEED);
	uffd_move(fd, p + 15 * PAGE, r + 6 * PAGE, PAGE, 0);
	reap(-1);
	show_pages("target", p, 16);
	show_pages("source", r, 8);
	accesses("moved", p + 10 * PAGE);

	int memfd = MUST(memfd_create, "m", 0);
	MUST(ftruncate, memfd, 6 * PAGE);
	MUST(pwrite64, memfd, "x", 1, 0);
	for (int shared = 0; shared < 2; shared++) {
		char *m = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, memfd, 0);
		print("shared %d: %d\n", shared, (int)uffd_register(fd, m, 8, MISSING | MINOR));
		accesses("minor", m);
		accesses("missing", m + PAGE);
		accesses("behind the end", m + 6 * PAGE);
		uffd_three("continue", fd, CONTINUE, m, PAGE, 0);
		uffd_three("continue", fd, CONTINUE, m, PAGE, 0);
		uffd_three("continue", fd, CONTINUE, m + PAGE, PAGE, 0);
		uffd_three("continue", fd, CONTINUE, m + 6 * PAGE, PAGE, 0);
		uffd_three("continue", fd, CONTINUE, m, PAGE, 4);
		accesses("continued", m);
		SAY(write_byte(m, 'y'));
		uffd_copy(fd, m + 2 * PAGE, source, PAGE, 0);
		uffd_copy(fd, m, source, PAGE, 0);
		uffd_copy(fd, m + 6 * PAGE, source, PAGE, 0);
		uffd_three("zero", fd, ZEROPAGE, m + 3 * PAGE, PAGE, 0);
		uffd_three("zero", fd, ZEROPAGE, m + 6 * PAGE, PAGE, 0);
		uffd_three("poison", fd, POISON, m + 4 * PAGE, PAGE, 0);
		uffd_three("poison", fd, POISON, m + 6 * PAGE, PAGE, 0);
		accesses("poisoned", m + 4 * PAGE);
		MUST(madvise, m, PAGE, MADV_DONTNEED);
		accesses("minor again", m);
		uffd_copy(fd, m, source, PAGE, 0);
		show_pages("file", m, 8);
		u64 range[2] = { (u64)m, 8 * PAGE };
		SHOW(ioctl, fd, UNREGISTER, range);
		accesses("unregistered", m + 5 * PAGE);
	}
	MUST(close, fd);
	accesses("closed", p + 4 * PAGE);
	SAY(mappings(p, 16 * PAGE));
	return 0;
}
