/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* Pages that were given up with MADV_FREE and then written, by the process or by the kernel for it, are not dropped. */
#include "pages.h"

static char page[PAGE] __attribute__((aligned(4096)));
static int mem, file;

static long store(char *p, int how)
{
	struct iovec local = { page, PAGE }, remote = { p, PAGE };

	if (how == 1)
		memset(p, 7, PAGE);
	if (how == 2)
		return SYS(pwrite64, mem, page, PAGE, p);
	if (how == 3)
		return SYS(process_vm_writev, SYS(getpid), &local, 1, &remote, 1, 0);
	if (how == 4)
		return SYS(pread64, file, p, PAGE, 0);
	return 0;
}

static void try(u64 pages, int advice)
{
	for (int how = 0; how < 5; how++) {
		char *p = anonymous(2 * pages * PAGE, MAP_PRIVATE);

		p = (char *)(((u64)p + pages * PAGE - 1) & -(pages * PAGE));
		MUST(madvise, p, pages * PAGE, advice);
		memset(p, 5, pages * PAGE);
		MUST(madvise, p, pages * PAGE, MADV_FREE);
		print("%d pages, how %d: %d", (int)pages, how, (int)store(p, how));
		MUST(madvise, p, pages * PAGE, MADV_PAGEOUT);
		print(", then %d\n", *p);
	}
}

int main(void)
{
	pages_begin();
	memset(page, 7, PAGE);
	mem = MUST(open, "/proc/self/mem", O_RDWR);
	file = MUST(memfd_create, "m", 0);
	MUST(write, file, page, PAGE);
	try(1, MADV_NOHUGEPAGE);
	try(512, MADV_HUGEPAGE);
	return 0;
}
