/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEM_UNDO takes effect when unshare(2) gives up CLONE_SYSVSEM, not only at the end of the process. */
#include "native.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void)
{
	struct sembuf up = { 0, 3, SEM_UNDO }, plain = { 0, 1, 0 };
	int id = MUST(semget, IPC_PRIVATE, 1, 0600);

	SHOW(semop, id, &up, 1);
	SHOW(semop, id, &plain, 1);
	SHOW(semctl, id, 0, GETVAL);
	SHOW(unshare, CLONE_SYSVSEM);
	SHOW(semctl, id, 0, GETVAL);
	SHOW(unshare, CLONE_SYSVSEM);
	SHOW(semctl, id, 0, GETVAL);
	SHOW(semctl, id, 0, IPC_RMID);
	return 0;
}
