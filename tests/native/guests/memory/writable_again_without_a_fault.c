/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mprotect(2) back to what can be written: no fault where no copy can be due (can_change_pte_writable). */
// since: 6.2
// needs: proc
#include "mappings.h"

int main(void)
{
	char *p = fresh(4);
	int fd = file_of(4);

	touch(p, 4);
	MUST(mprotect, p, 4 * PAGE, PROT_READ);
	MUST(mprotect, p, 4 * PAGE, RW);
	FAULTS(touch(p, 4));
	MUST(mprotect, p, 4 * PAGE, PROT_NONE);
	MUST(mprotect, p, 4 * PAGE, RW);
	FAULTS(touch(p, 4));
	MUST(mprotect, p, 4 * PAGE, RW | PROT_EXEC);
	FAULTS(touch(p, 4));
	print("what fork has shared, until it is written\n");
	long child = MUST(fork);
	if (!child)
		leave(0);
	reap(child);
	for (int i = 0; i < 2; i++) {
		MUST(mprotect, p, 4 * PAGE, PROT_READ);
		MUST(mprotect, p, 4 * PAGE, RW);
		FAULTS(touch(p, 4));
	}
	print("the page of zeros, and pages of a file\n");
	p = fresh(2);
	look(p);
	look(p + PAGE);
	MUST(mprotect, p, 2 * PAGE, PROT_READ);
	MUST(mprotect, p, 2 * PAGE, RW);
	FAULTS(touch(p, 2));
	p = at(area(), 4, RW, MAP_PRIVATE, fd, 0);
	look(p);
	touch(p + PAGE, 1);
	MUST(mprotect, p, 4 * PAGE, PROT_READ);
	MUST(mprotect, p, 4 * PAGE, RW);
	FAULTS(touch(p, 2));
	p = at(area(), 4, RW, MAP_SHARED, fd, 0);
	look(p);
	MUST(mprotect, p, 4 * PAGE, PROT_READ);
	MUST(mprotect, p, 4 * PAGE, RW);
	FAULTS(touch(p, 2));
	return 0;
}
