/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.15
// needs: proc
/* MADV_GUARD_INSTALL and _REMOVE: which mappings may have guards, and what keeps and what drops them. */
#include "pages.h"

#define INSTALL 102
#define REMOVE 103

static char *area(int prot, int flags, int fd)
{
	return (char *)MUST(mmap, 0, 8 * PAGE, prot, flags, fd, 0);
}

static void accesses(const char *what, char *p)
{
	print("%s: read %d", what, read_byte(p));
	print(" code %d, write %d", pages_code, write_byte(p, 1));
	print(" code %d\n", pages_code);
}

int main(void)
{
	pages_begin();
	char *p = area(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(p, 'a', 4 * PAGE);
	SHOW(madvise, p + PAGE, 5 * PAGE, INSTALL);
	show_pages("installed", p, 8);
	SAY(mappings(p, 8 * PAGE));
	accesses("on a guard", p + 2 * PAGE);
	accesses("on a guard of an empty page", p + 5 * PAGE);
	accesses("behind", p + 6 * PAGE);
	SHOW(madvise, p, 8 * PAGE, MADV_DONTNEED);
	show_pages("after DONTNEED", p, 8);
	SHOW(madvise, p, 8 * PAGE, MADV_FREE);
	SHOW(madvise, p, 8 * PAGE, INSTALL);
	SHOW(madvise, p + 4 * PAGE, 4 * PAGE, REMOVE);
	show_pages("half", p, 8);
	accesses("removed", p + 4 * PAGE);
	SHOW(mprotect, p, 2 * PAGE, PROT_NONE);
	SHOW(mprotect, p, 2 * PAGE, PROT_READ | PROT_WRITE);
	accesses("after mprotect", p);
	SHOW(madvise, p, 8 * PAGE, MADV_POPULATE_READ);
	SHOW(madvise, p + 4 * PAGE, 4 * PAGE, MADV_POPULATE_WRITE);
	SHOW(mlock, p + 4 * PAGE, PAGE);
	SHOW(mlock, p, PAGE);
	SHOW(madvise, p + 4 * PAGE, PAGE, INSTALL);
	SHOW(madvise, p + 4 * PAGE, PAGE, REMOVE);
	SHOW(munlock, p, 8 * PAGE);

	long child = MUST(fork);
	if (!child) {
		show_pages("child", p, 8);
		SHOW(madvise, p, PAGE, REMOVE);
		accesses("child", p);
		leave(read_byte(p + PAGE) == -SIGSEGV);
	}
	reap(child);
	show_pages("parent", p, 8);
	char *to = area(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	MUST(mremap, p, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	show_pages("moved", to, 8);
	SHOW(madvise, to, 8 * PAGE, MADV_DONTFORK);
	MUST(munmap, to, 8 * PAGE);
	MUST(mmap, to, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	show_pages("mapped anew", to, 8);

	put("file", "text");
	int fd = MUST(open, "file", O_RDWR);
	MUST(ftruncate, fd, 8 * PAGE);
	int number = 0;
	for (int shared = 0; shared < 2; shared++)
		for (int prot = 0; prot < 2; prot++) {
			char *m = area(prot ? PROT_READ | PROT_WRITE : PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE, fd);
			print("file %d: ", number++);
			read_byte(m), read_byte(m + PAGE);
			if (prot)
				write_byte(m + PAGE, 'b');
			SHOW(madvise, m + PAGE, PAGE, INSTALL);
			show_pages("file", m, 4);
			accesses("file", m + PAGE);
			SHOW(madvise, m, 4 * PAGE, MADV_DONTNEED);
			accesses("still", m + PAGE);
			child = MUST(fork);
			if (!child)
				leave(read_byte(m + PAGE) == -SIGSEGV);
			reap(child);
			SHOW(ftruncate, fd, 0);
			show_pages("truncated", m, 4);
			SHOW(ftruncate, fd, 8 * PAGE);
			SHOW(madvise, m, 4 * PAGE, REMOVE);
			accesses("removed", m + PAGE);
		}
	char *s = area(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	SHOW(madvise, s, PAGE, INSTALL);
	SHOW(madvise, s, 8 * PAGE, MADV_REMOVE);
	accesses("shared", s);
	char *n = area(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	SHOW(madvise, n, PAGE, INSTALL);
	accesses("no rights", n);
	MUST(mprotect, n, PAGE, PROT_READ);
	accesses("a right", n);

	SHOW(madvise, n + 1, PAGE, INSTALL);
	SHOW(madvise, n, 0, INSTALL);
	SHOW(madvise, n, -1L, INSTALL);
	MUST(munmap, n + 2 * PAGE, PAGE);
	SHOW(madvise, n, 8 * PAGE, INSTALL);
	show_pages("around a hole", n, 8);
	SHOW(madvise, n, 8 * PAGE, REMOVE);
	SHOW(madvise, n + 2 * PAGE, PAGE, REMOVE);
	show_pages("none left", n, 8);
	return 0;
}
