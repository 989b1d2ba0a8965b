/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: proc
/* A read by force, where nothing may be read, maps pages around its own: these may not be read either. */
#include "pages.h"

static void try(const char *what, int fd, int flags, int rights)
{
	int mem = MUST(open, "/proc/self/mem", O_RDWR), refused = 0, refused_writes = 0;
	char *p = (void *)MUST(mmap, 0, 16 * PAGE, rights, flags, fd, 0), byte = 0;

	SHOW(pread64, mem, &byte, 1, p + 5 * PAGE);
	print("%s with rights %d: read %d", what, rights, byte);
	for (int i = 0; i < 16; i++) {
		refused += read_byte(p + i * PAGE) == -SIGSEGV;
		refused_writes += write_byte(p + i * PAGE, 1) == -SIGSEGV;
	}
	print(", %d reads and %d writes refused", refused, refused_writes);
	MUST(mprotect, p, 16 * PAGE, PROT_READ);
	print(", then %d %d\n", read_byte(p + 5 * PAGE), read_byte(p + 6 * PAGE));
	MUST(munmap, p, 16 * PAGE);
	MUST(close, mem);
}

int main(void)
{
	pages_begin();
	int fd = MUST(memfd_create, "m", 0);
	for (int i = 0; i < 16; i++)
		MUST(pwrite64, fd, "abcdefghijklmnop" + i, 1, i * PAGE);
	for (int rights = 0; rights < 2; rights++) {
		try("private", fd, MAP_PRIVATE, rights);
		try("shared", fd, MAP_SHARED, rights);
		try("anonymous", -1, MAP_PRIVATE | MAP_ANONYMOUS, rights);
	}
	return 0;
}
