/* SPDX-License-Identifier: GPL-2.0-or-later */
/* semtimedop(2): at once, after a while, and with a bad time. */
#include "native.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void)
{
	struct sembuf down = { 0, -1, 0 }, up = { 0, 1, 0 };
	struct timespec some = { 0, 2000000 }, bad = { 0, 1000000000 };
	int id = MUST(semget, IPC_PRIVATE, 1, 0600);
	SHOW(semtimedop, id, &up, 1, &some);
	SHOW(semtimedop, id, &down, 1, &some);
	SHOW(semtimedop, id, &down, 1, &some);
	SHOW(semtimedop, id, &down, 1, &bad);
	SHOW(semtimedop, id, &up, 0, &bad);
	SHOW(semtimedop, id, NOWHERE, 1, &some);
	SHOW(semtimedop, id, &up, 1, NULL);
	SHOW(semctl, id, 0, IPC_RMID);
	return 0;
}
