/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getdents64(2): the entries, whole ones only, and the end. */
#include "native.h"

struct entry { u64 ino; long off; u16 size; u8 type; char name[]; };
static char buffer[4096];
static int seen[256];

int main(void)
{
	MUST(mkdir, "d", 0755);
	put("d/a", "a");
	MUST(mkdir, "d/b", 0755);
	MUST(symlink, "x", "d/c");
	MUST(mknod, "d/e", S_IFIFO | 0600, 0);
	int fd = MUST(open, "d", O_RDONLY);
	long n = MUST(getdents64, fd, buffer, sizeof(buffer));
	for (long at = 0; at < n;) {
		struct entry *e = (void *)(buffer + at);
		seen[(u8)e->name[e->name[0] == '.' && e->name[1] == '.']] += 1 + e->type;
		at += e->size;
	}
	print(". %d a %d b %d c %d e %d\n", seen['.'], seen['a'], seen['b'], seen['c'], seen['e']);
	SHOW(getdents64, fd, buffer, sizeof(buffer));
	SHOW(getdents64, fd, NOWHERE, 4096);
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(getdents64, fd, buffer, 10);
	SHOW(getdents64, fd, NOWHERE, 4096);
	SHOW(getdents64, fd, buffer, 24);
	SHOW(getdents64, 99, buffer, 4096);
	int file = MUST(open, "d/a", O_RDONLY);
	SHOW(getdents64, file, buffer, 4096);
	SHOW(getdents64, file, NOWHERE, 0);
	SHOW(getdents, file, buffer, 4096);
	SHOW(getdents, 99, buffer, 4096);
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(getdents, fd, buffer, 10);
	SHOW(getdents, fd, buffer, 24);
	int other = MUST(open, "d/b", O_RDONLY);
	MUST(rmdir, "d/b");
	SHOW(getdents64, other, buffer, 4096);
	SHOW(getdents, other, buffer, 4096);
	SHOW(getdents, MUST(open, "d", O_RDONLY | O_PATH), buffer, 4096);
	return 0;
}
