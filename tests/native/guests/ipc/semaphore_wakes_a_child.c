/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that waits in semop(2), and SEM_UNDO. */
#include "native.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void)
{
	struct sembuf down = { 0, -1, 0 }, up = { 0, 1, 0 }, undo = { 1, 5, SEM_UNDO };
	int id = MUST(semget, IPC_PRIVATE, 2, 0600);
	long pid = MUST(fork);
	if (!pid) {
		MUST(semop, id, &undo, 1);
		MUST(semop, id, &down, 1);
		leave(SYS(semctl, id, 1, GETVAL));
	}
	while (SYS(semctl, id, 0, GETNCNT) == 0)
		sleep_ms(1);
	SHOW(semctl, id, 1, GETVAL);
	SHOW(semop, id, &up, 1);
	reap(pid);
	SHOW(semctl, id, 1, GETVAL);
	pid = MUST(fork);
	if (!pid)
		leave(-SYS(semop, id, &down, 1));
	while (SYS(semctl, id, 0, GETNCNT) == 0)
		sleep_ms(1);
	SHOW(semctl, id, 0, IPC_RMID);
	reap(pid);
	return 0;
}
