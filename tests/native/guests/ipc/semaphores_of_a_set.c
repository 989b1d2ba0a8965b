/* SPDX-License-Identifier: GPL-2.0-or-later */
/* semget(2), semop(2), semctl(2). */
#include "native.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void)
{
	struct sembuf down = { 0, -1, IPC_NOWAIT }, up = { 0, 2, 0 }, zero = { 1, 0, IPC_NOWAIT }, far = { 9, 1, 0 };
	struct timespec none = { 0, 0 }, bad = { 0, -1 };
	u16 values[2] = { 5, 6 };
	int id = MUST(semget, IPC_PRIVATE, 2, 0600);
	SHOW(semget, IPC_PRIVATE, 0, 0600);
	SHOW(semget, IPC_PRIVATE, -1, 0600);
	SHOW(semget, 0x7ead5eed, 1, 0);
	SHOW(semop, id, &down, 1);
	SHOW(semop, id, &up, 1);
	SHOW(semop, id, &down, 1);
	SHOW(semctl, id, 0, GETVAL);
	SHOW(semop, id, &zero, 1);
	SHOW(semop, id, &far, 1);
	SHOW(semop, id, NULL, 0);
	SHOW(semop, id, &up, 501);
	SHOW(semop, id, NOWHERE, 1);
	SHOW(semop, -1, &up, 1);
	SHOW(semop, id + 32768 * 3, &up, 1);
	SHOW(semtimedop, id, &up, 1, &bad);
	down.sem_flg = 0, down.sem_op = -30000;
	SHOW(semtimedop, id, &down, 1, &none);
	SHOW(semtimedop, id, &down, 1, NOWHERE);
	up.sem_op = 32767;
	SHOW(semop, id, &up, 1);
	SHOW(semctl, id, 0, SETALL, values);
	SHOW(semctl, id, 1, GETVAL);
	SHOW(semctl, id, 2, GETVAL);
	SHOW(semctl, id, 0, SETVAL, 32768);
	SHOW(semctl, id, 0, SETVAL, -1);
	SHOW(semctl, id, 0, GETALL, NOWHERE);
	SHOW(semctl, id, 0, 99);
	SHOW(semctl, -1, 0, GETVAL);
	SHOW(semctl, id, 0, GETNCNT);
	SAY(SYS(semctl, id, 0, GETPID) == SYS(getpid));
	SHOW(semctl, id, 0, IPC_RMID);
	SHOW(semctl, id, 0, IPC_RMID);
	SHOW(semop, id, &up, 1);
	return 0;
}
