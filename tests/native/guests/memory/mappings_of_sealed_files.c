/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flags of mappings: of files that nobody may write, or that this one may not; and what a write beyond the end leaves. */
// since: 6.18
// needs: proc
#include "mappings.h"

static void show_flags(const char *what, char *p)
{
	const char *found;

	print("%s:", what);
	figure(p, "Rss");
	for (const char *line = native_maps; *line; line++) {
		u64 low = number_at(&line, 16);

		if (low == (u64)p && *line == '-') {
			found = find(line, "VmFlags:") + 9;
			while (*found != '\n')
				print("%c", *found++);
			break;
		}
		while (*line != '\n')
			line++;
	}
	print("\n");
}

int main(void)
{
	static const int seals[] = { 0, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK | F_SEAL_GROW };
	int file, readable;
	char path[] = "/proc/self/fd/ ", *p;

	for (u32 i = 0; i < COUNT(seals); i++) {
		file = MUST(memfd_create, "sealed", MFD_ALLOW_SEALING);
		MUST(ftruncate, file, 4 * PAGE);
		MUST(fcntl, file, F_ADD_SEALS, seals[i]);
		print("seals %x\n", seals[i]);
		show_flags("  shared", at(area(), 4, PROT_READ, MAP_SHARED, file, 0));
		show_flags("  private", at(area(), 4, RW, MAP_PRIVATE, file, 0));
		p = area();
		SHOW(mmap, p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, file, 0);
		p = at(p, 4, PROT_READ, MAP_SHARED, file, 0);
		SHOW(mprotect, p, PAGE, RW);
		SHOW(mremap, p, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 8 * PAGE);
		SHOW(madvise, p, PAGE, MADV_REMOVE);
		SHOW(madvise, p, PAGE, MADV_WIPEONFORK);
		SHOW(madvise, p, PAGE, MADV_POPULATE_WRITE);
		path[14] = '0' + file;
		readable = MUST(open, path, O_RDONLY);
		show_flags("  of one that can only be read", at(area(), 4, PROT_READ, MAP_SHARED, readable, 0));
		MUST(close, readable);
		MUST(close, file);
	}
	file = MUST(memfd_create, "short", 0);
	MUST(ftruncate, file, 2 * PAGE);
	p = at(area(), 6, RW, MAP_PRIVATE, file, 0);
	MUST(mlock2, p, 3 * PAGE, 1);
	touch(p, 1);
	show_maps("a part is locked", p, 6);
	SHOW(process_vm_writev, SYS(getpid), &((struct iovec){ "x", 1 }), 1, &((struct iovec){ p + 4 * PAGE, 1 }), 1, 0);
	MUST(munlock, p, 3 * PAGE);
	show_maps("a write failed beyond the end", p, 6);
	return 0;
}
