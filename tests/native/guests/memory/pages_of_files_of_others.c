/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mincore(2), MADV_COLD and MADV_PAGEOUT on files that a user owns, may write or may only read. */
// since: 6.18
// needs: root, proc
#include "mappings.h"

static void show_state(const char *what, char *p, u64 pages)
{
	u8 there[8];
	long result = SYS(mincore, p, pages * PAGE, there);

	print("  %s:", what);
	if (result < 0)
		print(" %s", errno_name(-result));
	for (u64 i = 0; !result && i < pages; i++)
		print(" %d", there[i]);
	print(" |");
	for (u64 i = 0; i < pages; i++)
		print(" %lx", mapped(p + i * PAGE));
	print("\n");
}

/* Eight pages, of which five are there. */
static int make_file(const char *name, int mode, int owner)
{
	static char page[PAGE];
	int fd = MUST(open, name, O_CREAT | O_RDWR, 0666);

	memset(page, 'F', PAGE);
	for (int i = 0; i < 5; i++)
		MUST(pwrite64, fd, page, PAGE, i * PAGE);
	MUST(ftruncate, fd, 8 * PAGE);
	MUST(fchmod, fd, mode);
	MUST(fchown, fd, owner, owner);
	return fd;
}

int main(void)
{
	static const struct {
		const char *name;
		int mode, owner;
	} files[] = { { "own", 0600, 1000 },   { "readable", 0644, 0 }, { "writable", 0666, 0 }, { "own readonly", 0400, 1000 },
		      { "of group", 0664, 0 }, { "for none", 0, 0 } };
	int fds[COUNT(files)];
	char *p;
	u8 there[4];

	for (u32 i = 0; i < COUNT(files); i++)
		fds[i] = make_file(files[i].name, files[i].mode, files[i].owner);
	mapped((char *)main);
	MUST(setresgid, 1000, 1000, 1000);
	MUST(setresuid, 1000, 1000, 1000);
	for (u32 i = 0; i < COUNT(files); i++)
		for (int shared = 0; shared < 2; shared++) {
			print("%s, %s\n", files[i].name, shared ? "shared" : "private");
			p = at(area(), 8, RW, shared ? MAP_SHARED : MAP_PRIVATE, fds[i], 0);
			show_state("untouched", p, 8);
			look(p);
			touch(p + 2 * PAGE, 1);
			show_state("touched", p, 8);
			SHOW(madvise, p, 4 * PAGE, MADV_COLD_);
			SHOW(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
			show_state("sent out", p, 8);
			MUST(munmap, p, 8 * PAGE);
		}
	p = at(area(), 4, RW, SHARED, -1, 0);
	touch(p, 2);
	show_state("shared memory", p, 4);
	SHOW(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	show_state("sent out", p, 4);
	SHOW(mincore, p + 1, PAGE, there);
	SHOW(mincore, p, 0, there);
	SHOW(mincore, p, 5 * PAGE, there);
	SHOW(mincore, p, PAGE, NOWHERE);
	SHOW(mincore, -PAGE, PAGE, there);
	SHOW(mincore, 1UL << 46, PAGE, there);
	SHOW(mincore, p, -1UL, there);
	return 0;
}
