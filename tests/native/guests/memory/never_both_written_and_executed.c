/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
/* prctl(2) with PR_SET_MDWE: memory gets no right to be executed that it had not from the start. */
#include <sys/shm.h>

#include "mappings.h"

#define SET 65
#define GET 66

static void in_a_child(const char *what, int bits)
{
	long pid = MUST(fork);

	if (!pid) {
		MUST(prctl, SET, bits, 0, 0, 0);
		print("%s\n", what);
		long inner = MUST(fork);

		if (!inner) {
			SHOW(prctl, GET, 0, 0, 0, 0);
			leave(0);
		}
		MUST(wait4, inner, 0, 0, 0);
		leave(0);
	}
	MUST(wait4, pid, 0, 0, 0);
}

int main(void)
{
	char *both = at(area(), 2, 7, PRIVATE, -1, 0), *plain = fresh(1), *sealed = fresh(1);
	int segment = MUST(shmget, IPC_PRIVATE, PAGE, 0700), file = file_of(1);

	SHOW(prctl, GET, 0, 0, 0, 0);
	SHOW(prctl, GET, 1, 0, 0, 0);
	SHOW(prctl, SET, 4, 0, 0, 0);
	SHOW(prctl, SET, 2, 0, 0, 0);
	SHOW(prctl, SET, 1, 0, 0, 1);
	in_a_child("inherited", 1);
	in_a_child("not inherited", 3);
	SHOW(prctl, SET, 1, 0, 0, 0);
	SHOW(prctl, SET, 1, 0, 0, 0);
	SHOW(prctl, SET, 0, 0, 0, 0);
	SHOW(prctl, SET, 3, 0, 0, 0);
	DO(mmap, 0, PAGE, 7, PRIVATE, -1, 0);
	DO(mmap, 0, PAGE, 5, PRIVATE, -1, 0);
	DO(mmap, 0, PAGE, 6, MAP_PRIVATE, file, 0);
	DO(mmap, 16, PAGE, 7, PRIVATE | MAP_FIXED, -1, 0);
	DO(mmap, plain, PAGE, 7, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0);
	SHOW(mprotect, plain, PAGE, 5);
	SHOW(mprotect, plain, PAGE, 1);
	SHOW(mprotect, plain, 2 * PAGE, 5);
	MUST(mseal, sealed, PAGE, 0);
	SHOW(mprotect, sealed, PAGE, 5);
	SHOW(mprotect, sealed, PAGE, 1);
	SHOW(mprotect, both, PAGE, 7);
	SHOW(mprotect, both, PAGE, 5);
	SHOW(mprotect, both, PAGE, 7);
	SHOW(mprotect, both, 2 * PAGE, 5);
	show_maps("both", both, 2);
	DO(shmat, segment, 0, SHM_EXEC);
	DO(shmat, segment, 0, SHM_EXEC | SHM_RDONLY);
	MUST(shmctl, segment, IPC_RMID, 0);
	return 0;
}
