/* SPDX-License-Identifier: GPL-2.0-or-later */
/* madvise(2): each advice on each kind of mapping. */
#include "native.h"

static void all(const char *kind, void *p)
{
	print("%s:", kind);
	for (int advice = 0; advice < 26; advice++)
		if (advice != 100 && advice != MADV_REMOVE && advice != MADV_MERGEABLE && advice != MADV_UNMERGEABLE && advice != 21 && advice != MADV_HUGEPAGE && advice != MADV_NOHUGEPAGE && advice != 25)
			print(" %s", result_name(SYS(madvise, p, PAGE, advice)));
	print("\n");
}

int main(void)
{
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR), ro = MUST(open, "file", O_RDONLY);
	MUST(ftruncate, fd, PAGE);
	all("private", anonymous(PAGE, MAP_PRIVATE));
	all("shared", anonymous(PAGE, MAP_SHARED));
	all("file, private", (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	all("file, shared", (void *)MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	all("file, shared, read-only", (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_SHARED, ro, 0));
	all("no rights", (void *)MUST(mmap, 0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	all("read-only", (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	all("none", (void *)(1UL << 40));
	all("kernel", (void *)-PAGE);
	all("odd", (void *)1);
	return 0;
}
