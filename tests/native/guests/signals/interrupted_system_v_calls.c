/* SPDX-License-Identifier: GPL-2.0-or-later */
/* semop(2), semtimedop(2), msgrcv(2), msgsnd(2) never restart. */
#include "native.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static void on_signal(int signo)
{
	(void)signo;
}

int main(void)
{
	static struct { long type; char text[8192]; } m = { 1, "x" };
	struct sembuf down = { 0, -1, 0 };
	struct timespec t = { 100, 0 };
	int s = MUST(semget, IPC_PRIVATE, 1, 0600), q = MUST(msgget, IPC_PRIVATE, 0600);
	handle(SIGUSR1, on_signal, SA_RESTART);
	long pid = signals_from_a_child(SIGUSR1);
	SHOW(semop, s, &down, 1);
	SHOW(semtimedop, s, &down, 1, &t);
	SHOW(msgrcv, q, &m, 8, 0, 0);
	m.type = 1;
	MUST(msgsnd, q, &m, 8192, 0);
	MUST(msgsnd, q, &m, 8192, 0);
	SHOW(msgsnd, q, &m, 8192, 0);
	end_child(pid);
	SHOW(semctl, s, 0, IPC_RMID);
	SHOW(msgctl, q, IPC_RMID, NULL);
	return 0;
}
