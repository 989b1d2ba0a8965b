/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* [vvar], [vvar_vclock] and [vdso] can be moved and unmapped as wholes, and what else may be done to them. */
#include "native.h"

static char maps[16384];
static char *vvar, *vdso;
static u64 vvar_size, vdso_size;

static u64 hex(const char *text)
{
	u64 value = 0;

	for (;; text++)
		if (*text >= '0' && *text <= '9')
			value = value * 16 + *text - '0';
		else if (*text >= 'a' && *text <= 'f')
			value = value * 16 + *text - 'a' + 10;
		else
			return value;
}

/* Prints the lines of the kernel's own mappings behind the addresses, and notes two. */
static void look(void)
{
	int fd = MUST(open, "/proc/self/maps", O_RDONLY), used = 0, n;

	while ((n = MUST(read, fd, maps + used, sizeof(maps) - 1 - used)) > 0)
		used += n;
	MUST(close, fd);
	maps[used] = 0;
	vvar = vdso = NULL;
	for (char *line = maps, *end; *line; line = end + 1) {
		char *name = NULL, *dash = line;

		for (end = line; *end != '\n'; end++)
			if (*end == '[')
				name = end;
		*end = 0;
		if (!name || name[1] != 'v')
			continue;
		while (*dash != '-')
			dash++;
		u64 start = hex(line), size = hex(dash + 1) - start;
		char *rights = dash;
		while (*rights != ' ')
			rights++;
		print("%ld%s\n", size, rights);
		if (same(name, "[vvar]"))
			vvar = (char *)start, vvar_size = size;
		if (same(name, "[vdso]"))
			vdso = (char *)start, vdso_size = size;
	}
}

static void touch(const char *what, volatile char *at, int store)
{
	long pid = MUST(fork);

	if (!pid) {
		if (store)
			*at = 1;
		else
			(void)*at;
		leave(0);
	}
	print("%s: ", what);
	reap(pid);
}

int main(void)
{
	look();
	touch("read vvar", vvar, 0);
	touch("read vvar's second page", vvar + PAGE, 0);
	touch("read vvar's third page", vvar + 2 * PAGE, 0);
	touch("write vvar", vvar, 1);
	touch("write vdso", vdso, 1);
	SHOW(mprotect, vvar, vvar_size, PROT_READ | PROT_WRITE);
	SHOW(mprotect, vvar, vvar_size, PROT_READ | PROT_EXEC);
	SHOW(mprotect, vvar, PAGE, PROT_NONE);
	SHOW(mprotect, vvar, vvar_size, PROT_NONE);
	SHOW(mprotect, vvar, vvar_size, PROT_READ);
	SHOW(mprotect, vdso, PAGE, PROT_READ);
	SHOW(mprotect, vdso, vdso_size, PROT_READ | PROT_WRITE | PROT_EXEC);
	touch("write vdso", vdso, 1);
	SHOW(munmap, vdso, PAGE);
	SHOW(madvise, vdso, vdso_size, MADV_DONTNEED);
	SHOW(madvise, vvar, vvar_size, MADV_DONTNEED);
	SHOW(madvise, vvar, vvar_size, MADV_DODUMP);
	SHOW(madvise, vvar, vvar_size, MADV_DOFORK);
	SHOW(madvise, vvar, vvar_size, MADV_POPULATE_READ);
	SHOW(madvise, vdso, vdso_size, MADV_POPULATE_READ);
	SHOW(mlock, vdso, vdso_size);
	SHOW(mlock, vvar, vvar_size);
	u8 resident[4];
	SHOW(mincore, vvar, vvar_size, resident);
	SAY(resident[1]);
	struct iovec here = { maps, 16 }, there = { vvar, 16 };
	long self = SYS(getpid);
	SHOW(process_vm_readv, self, &here, 1, &there, 1, 0);
	there.iov_base = vdso;
	SHOW(process_vm_readv, self, &here, 1, &there, 1, 0);
	SHOW(mremap, vdso, vdso_size, vdso_size + PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, vdso, vdso_size, PAGE, MREMAP_MAYMOVE);
	SHOW(mremap, vdso, vdso_size, vdso_size, MREMAP_MAYMOVE | 4);
	char *place = (char *)MUST(mmap, 0, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SHOW(mremap, vdso, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	SAY(SYS(mremap, vdso, vdso_size, vdso_size, MREMAP_MAYMOVE | MREMAP_FIXED, place) == (long)place);
	SAY(SYS(mremap, vvar, vvar_size, vvar_size, MREMAP_MAYMOVE | MREMAP_FIXED, place + 32 * PAGE) ==
	    (long)(place + 32 * PAGE));
	look();
	SAY(vdso == place);
	SAY(vdso[1]);
	SHOW(munmap, vdso, vdso_size);
	look();
	return 0;
}
