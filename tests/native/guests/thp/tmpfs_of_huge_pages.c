/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, namespaces, transparent huge pages
/* tmpfs with huge=: which pages are made huge by writes, faults and fallocate, and how they are mapped. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "thp.h"

static int fd;

static void see(const char *what, char *p)
{
	struct stat st;

	MUST(fstat, fd, &st);
	print("%s: blocks %ld of %ld", what, (long)st.st_blocks, (long)st.st_blksize);
	if (p)
		print(" Rss %ld ShmemPmdMapped %ld THPeligible %ld", figure(p, "Rss"), figure(p, "ShmemPmdMapped"),
		      figure(p, "THPeligible"));
	print("\n");
}

static void try(const char *options)
{
	char *p;

	print("== %s\n", options);
	MUST(mkdir, "m", 0755);
	MUST(mount, "t", "m", "tmpfs", 0, options);
	fd = MUST(open, "m/a", O_RDWR | O_CREAT, 0600);
	MUST(pwrite64, fd, "x", 1, 0);
	see("a byte", 0);
	MUST(pwrite64, fd, "x", 1, 3 * MIB2);
	see("a byte behind a hole", 0);
	MUST(ftruncate, fd, 0);
	see("empty", 0);
	MUST(ftruncate, fd, 4 * MIB2);
	MUST(pwrite64, fd, "x", 1, 0);
	p = at(area(), 4 * HUGE, RW, MAP_SHARED, fd, 0);
	see("mapped", p);
	FAULTS(p[MIB2 + 5] = 1);
	see("written", p);
	FAULTS(look(p + 2 * MIB2));
	see("read", p);
	SHOW(madvise, p, 4 * MIB2, MADV_HUGEPAGE);
	FAULTS(look(p + 3 * MIB2));
	see("read after advice", p);
	SHOW(madvise, p, 4 * MIB2, MADV_NOHUGEPAGE);
	FAULTS(look(p + 2 * MIB2 + 17 * PAGE));
	see("forbidden", p);
	SHOW(madvise, p, 4 * MIB2, MADV_HUGEPAGE);
	SHOW(fallocate, fd, 3, MIB2 + PAGE, 2 * PAGE);
	see("punched", p);
	FAULTS(p[MIB2 + PAGE] = p[MIB2] = 1);
	SHOW(madvise, p + MIB2, MIB2, MADV_COLLAPSE_);
	see("collapsed", p);
	MUST(munmap, p, 4 * MIB2);
	MUST(ftruncate, fd, 0);
	SHOW(fallocate, fd, 0, 0, MIB2 + PAGE);
	see("allocated", 0);
	p = at(area() + PAGE, 4 * HUGE, RW, MAP_SHARED, fd, 0);
	FAULTS(touch(p, HUGE));
	see("mapped askew", p);
	MUST(munmap, p, 4 * MIB2);
	p = at(area(), 4 * HUGE, RW, MAP_SHARED, fd, 0);
	FAULTS(SYS(madvise, p, MIB2, 23));
	see("populated", p);
	MUST(munmap, p, 4 * MIB2);
	MUST(close, fd);
	MUST(umount2, "m", 0);
	MUST(rmdir, "m");
}

int main(void)
{
	MUST(unshare, CLONE_NEWNS);
	MUST(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
	try("huge=always");
	try("huge=within_size");
	try("huge=advise");
	try("huge=never");
	MUST(mkdir, "m", 0755);
	SHOW(mount, "t", "m", "tmpfs", 0, "huge=force");
	SHOW(mount, "t", "m", "tmpfs", 0, "huge=sometimes");
	SHOW(mount, "t", "m", "tmpfs", 0, "size=3M,huge=always");
	fd = MUST(open, "m/a", O_RDWR | O_CREAT, 0600);
	MUST(pwrite64, fd, "x", 1, 0);
	MUST(pwrite64, fd, "x", 1, MIB2);
	see("no room for two", 0);
	SHOW(mount, 0, "m", 0, MS_REMOUNT, "huge=never");
	MUST(ftruncate, fd, 0);
	MUST(pwrite64, fd, "x", 1, 0);
	see("remounted", 0);
	MUST(close, fd);
	MUST(umount2, "m", 0);
	MUST(rmdir, "m");
	return 0;
}
