/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* move_pages(2) and migrate_pages(2) where there is one node. */
#include "native.h"

static int status[8];

static void statuses(int n)
{
	for (int i = 0; i < n; i++)
		print(" %s%d", status[i] < 0 ? errno_name(-status[i]) : "node ", status[i] < 0 ? 0 : status[i]);
	print("\n");
}

int main(void)
{
	char *p = anonymous(8 * PAGE, MAP_PRIVATE), *r = anonymous(PAGE, MAP_PRIVATE);
	MUST(munmap, p + 4 * PAGE, PAGE);
	p[0] = 1;
	*(volatile char *)r;
	MUST(mprotect, p + PAGE, PAGE, PROT_READ);
	p[2 * PAGE] = 1;
	MUST(mprotect, p + 2 * PAGE, PAGE, PROT_NONE);
	void *pages[] = { p, p + PAGE, p + 2 * PAGE, p + 4 * PAGE, r, NOWHERE, p + 5, (void *)-1L };
	int nodes[] = { 0, 0, 0, 0, 0, 0, 0, 0 }, odd[] = { 1, -1, 5000, 1, 0, 1, 1, 1 };
	SHOW(move_pages, 0, 8, pages, NULL, status, 0);
	statuses(8);
	SHOW(move_pages, 0, 8, pages, nodes, status, 2);
	statuses(8);
	SHOW(move_pages, 0, 8, pages, odd, status, 2);
	statuses(8);
	SHOW(move_pages, 0, 8, pages, nodes, status, 4);
	SHOW(move_pages, 0, 0, pages, nodes, status, 0);
	SHOW(move_pages, 0, 0, NULL, NULL, NULL, 0);
	SHOW(move_pages, 0, 1, pages, NULL, status, 1);
	SHOW(move_pages, 0, 1, pages, NULL, status, 8);
	SHOW(move_pages, 0, 1, NOWHERE, NULL, status, 0);
	SHOW(move_pages, 0, 1, pages, NOWHERE, status, 0);
	SHOW(move_pages, 0, 1, pages, NULL, NOWHERE, 0);
	SHOW(move_pages, 0, 1, pages, nodes, NOWHERE, 0);
	SHOW(move_pages, 0x3fffffff, 1, pages, NULL, status, 0);
	SHOW(move_pages, -1, 1, pages, NULL, status, 0);
	long child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	p[0] = 2;
	SHOW(move_pages, child, 8, pages, NULL, status, 0);
	statuses(8);
	u64 one = 1, two = 2, none = 0;
	SHOW(migrate_pages, 0, 64, &one, &one);
	SHOW(migrate_pages, child, 64, &one, &one);
	SHOW(migrate_pages, 0, 64, &two, &one);
	SHOW(migrate_pages, 0, 64, &none, &one);
	SHOW(migrate_pages, 0, 64, &one, &none);
	SHOW(migrate_pages, 0, 64, &one, &two);
	SHOW(migrate_pages, 0, 0, &one, &one);
	SHOW(migrate_pages, 0, 1, &one, &one);
	SHOW(migrate_pages, 0, 64, NULL, &one);
	SHOW(migrate_pages, 0, 64, NOWHERE, &one);
	SHOW(migrate_pages, 0, 64, &one, NOWHERE);
	SHOW(migrate_pages, 0, 1UL << 20, &one, &one);
	SHOW(migrate_pages, 0x3fffffff, 64, &one, &one);
	MUST(kill, child, SIGKILL);
	siginfo_t info;
	MUST(waitid, P_PID, child, &info, WEXITED | WNOWAIT, NULL);
	SHOW(move_pages, child, 1, pages, NULL, status, 0);
	SHOW(migrate_pages, child, 64, &one, &one);
	reap(child);
	child = MUST(fork);
	if (!child)
		for (;;)
			SYS(pause);
	long killer = MUST(fork);
	if (!killer) {
		sleep_ms(300);
		leave(failed(SYS(kill, child, SIGKILL)));
	}
	become(1000);
	SHOW(move_pages, child, 1, pages, NULL, status, 0);
	SHOW(move_pages, 0, 1, pages, NULL, status, 4);
	SHOW(move_pages, 0, 1, pages, NULL, status, 0);
	SHOW(migrate_pages, child, 64, &one, &one);
	SHOW(migrate_pages, 0, 64, &one, &two);
	SHOW(migrate_pages, 0, 64, &one, &one);
	reap(killer);
	reap(child);
	return 0;
}
