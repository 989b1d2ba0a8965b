/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Semaphores and messages, by chance. */
#include "native.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static int s, q;
static long one(void)
{
	struct sembuf ops[3];
	struct { long type; char text[100]; } m = { 1 + chance(4), "" };
	u32 n = 1 + chance(3);

	for (u32 i = 0; i < n; i++)
		ops[i] = (struct sembuf){ chance(4), (int)chance(7) - 3, IPC_NOWAIT | (chance(4) ? 0 : SEM_UNDO) };
	switch (chance(8)) {
	case 0:
	case 1:
	case 2:
		return SYS(semop, s, ops, n);
	case 3:
		return SYS(semctl, s, chance(5), GETVAL);
	case 4:
		return SYS(semctl, s, chance(4), SETVAL, chance(6));
	case 5:
	case 6:
		return SYS(msgsnd, q, &m, chance(100), IPC_NOWAIT);
	default:
		n = SYS(msgrcv, q, &m, chance(100), (int)chance(9) - 4, IPC_NOWAIT | (chance(2) ? MSG_NOERROR : 0) | (chance(4) ? 0 : MSG_EXCEPT));
		return (int)n < 0 ? (int)n : (int)n * 10 + m.type;
	}
}

int main(void)
{
	s = MUST(semget, IPC_PRIVATE, 4, 0600);
	q = MUST(msgget, IPC_PRIVATE, 0600);
	for (int line = 0; line < 100; line++) {
		for (int i = 0; i < 15; i++)
			print("%ld ", one());
		print("\n");
	}
	long pid = MUST(fork);
	if (!pid) {
		for (int i = 0; i < 40; i++)
			print("%ld ", one());
		print("\n");
		leave(0);
	}
	reap(pid);
	for (int i = 0; i < 4; i++)
		SHOW(semctl, s, i, GETVAL);
	SHOW(semctl, s, 0, IPC_RMID);
	SHOW(msgctl, q, IPC_RMID, NULL);
	return 0;
}
