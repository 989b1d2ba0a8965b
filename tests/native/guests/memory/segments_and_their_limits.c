/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.6
// needs: root
/* Segments that are larger than all memory, of huge pages that are not there, and locked ones. */
#include <sys/shm.h>

#include "mappings.h"

int main(void)
{
	struct rlimit none = { 0, 0 }, two = { 2 * PAGE, 2 * PAGE };
	long first, second;

	DO(shmget, IPC_PRIVATE, 1UL << 50, 0600);
	DO(shmget, IPC_PRIVATE, 0, 0600);
	DO(shmget, IPC_PRIVATE, -1UL, 0600);
	DO(shmget, IPC_PRIVATE, 2UL << 20, 0600 | SHM_HUGETLB | 16 << 26);
	first = MUST(shmget, IPC_PRIVATE, PAGE, 0666);
	second = MUST(shmget, IPC_PRIVATE, 2 * PAGE, 0666);
	long large = MUST(shmget, IPC_PRIVATE, 1UL << 50, 0600 | SHM_NORESERVE);
	MUST(shmctl, large, IPC_RMID, 0);
	long pid = MUST(fork);

	if (!pid) {
		become(65534);
		SHOW(shmctl, first, SHM_LOCK, 0);
		leave(0);
	}
	MUST(wait4, pid, 0, 0, 0);
	pid = MUST(fork);
	if (!pid) {
		become(65534);
		long own = MUST(shmget, IPC_PRIVATE, PAGE, 0600), more = MUST(shmget, IPC_PRIVATE, 2 * PAGE, 0600);

		MUST(setrlimit, RLIMIT_MEMLOCK, &two);
		SHOW(shmctl, own, SHM_LOCK, 0);
		SHOW(shmctl, own, SHM_LOCK, 0);
		SHOW(shmctl, more, SHM_LOCK, 0);
		SHOW(shmctl, own, SHM_UNLOCK, 0);
		SHOW(shmctl, more, SHM_LOCK, 0);
		SHOW(shmctl, more, SHM_UNLOCK, 0);
		MUST(setrlimit, RLIMIT_MEMLOCK, &none);
		SHOW(shmctl, own, SHM_LOCK, 0);
		MUST(shmctl, own, IPC_RMID, 0);
		MUST(shmctl, more, IPC_RMID, 0);
		leave(0);
	}
	MUST(wait4, pid, 0, 0, 0);
	MUST(setrlimit, RLIMIT_MEMLOCK, &none);
	SHOW(shmctl, second, SHM_LOCK, 0);
	MUST(shmctl, first, IPC_RMID, 0);
	MUST(shmctl, second, IPC_RMID, 0);
	return 0;
}
