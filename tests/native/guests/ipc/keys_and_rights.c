/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPC_CREAT, IPC_EXCL, and objects of another user. */
// needs: root
#include "native.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

int main(void)
{
	struct msqid_ds ds;
	struct sembuf up = { 0, 1, 0 };
	int m = MUST(msgget, 0x7ead0001, IPC_CREAT | IPC_EXCL | 0640), s = MUST(semget, 0x7ead0001, 2, IPC_CREAT | 0600);
	int h = MUST(shmget, 0x7ead0001, 100, IPC_CREAT | 0644);
	SHOW(msgget, 0x7ead0001, IPC_CREAT | IPC_EXCL);
	SAY(SYS(msgget, 0x7ead0001, IPC_CREAT) == m);
	SHOW(semget, 0x7ead0001, 3, 0);
	SHOW(semget, 0x7ead0001, 2, IPC_CREAT | IPC_EXCL);
	SHOW(shmget, 0x7ead0001, 5000, 0);
	SHOW(shmget, 0x7ead0001, 100, IPC_CREAT | IPC_EXCL);
	long pid = MUST(fork);
	if (!pid) {
		become(1000);
		SHOW(msgget, 0x7ead0001, 0600);
		SHOW(msgctl, m, IPC_STAT, &ds);
		SHOW(msgctl, m, IPC_RMID, NULL);
		SHOW(semget, 0x7ead0001, 1, 0400);
		SHOW(semop, s, &up, 1);
		SHOW(semctl, s, 0, GETVAL);
		SHOW(semctl, s, 0, IPC_RMID);
		SHOW(shmat, h, 0, 0);
		DO(shmat, h, 0, SHM_RDONLY);
		SHOW(shmctl, h, IPC_RMID, NULL);
		leave(0);
	}
	reap(pid);
	SHOW(msgctl, m, IPC_RMID, NULL);
	SHOW(semctl, s, 0, IPC_RMID);
	SHOW(shmctl, h, IPC_RMID, NULL);
	return 0;
}
