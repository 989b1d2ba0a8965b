/* SPDX-License-Identifier: GPL-2.0-or-later */
/* msgget(2), msgsnd(2), msgrcv(2), msgctl(2). */
#include "native.h"
#include <sys/ipc.h>
#include <sys/msg.h>

int main(void)
{
	struct { long type; char text[16]; } m = { 3, "three" }, got;
	struct msqid_ds ds;
	int id = MUST(msgget, IPC_PRIVATE, 0600);
	SHOW(msgget, 0x7ead5eed, 0);
	SHOW(msgsnd, id, &m, 5, 0);
	m.type = 1;
	SHOW(msgsnd, id, &m, 16, 0);
	m.type = 2;
	SHOW(msgsnd, id, &m, 0, 0);
	m.type = 0;
	SHOW(msgsnd, id, &m, 5, 0);
	SHOW(msgsnd, id, &m, -1, 0);
	m.type = 1;
	SHOW(msgsnd, id, &m, 9000, 0);
	SHOW(msgsnd, id, NOWHERE, 5, 0);
	SHOW(msgsnd, -1, &m, 5, 0);
	SHOW(msgsnd, id + 32768 * 3, &m, 5, 0);
	SHOW(msgctl, id, IPC_STAT, &ds);
	print("%ld %ld\n", (long)ds.msg_qnum, (long)ds.msg_qbytes);
	SHOW(msgrcv, id, &got, 16, 2, 0);
	SHOW(msgrcv, id, &got, 3, 1, 0);
	SHOW(msgrcv, id, &got, 3, 1, MSG_NOERROR);
	SHOW(msgrcv, id, &got, 16, -5, 0);
	print("%ld %s\n", got.type, got.text);
	SHOW(msgrcv, id, &got, 16, 0, IPC_NOWAIT);
	SHOW(msgrcv, id, &got, -1, 0, 0);
	SHOW(msgrcv, -1, &got, 16, 0, 0);
	m.type = 4;
	MUST(msgsnd, id, &m, 1, 0);
	SHOW(msgrcv, id, NOWHERE, 16, 0, 0);
	MUST(msgsnd, id, &m, 1, 0);
	SHOW(msgrcv, id, &got, 16, 4, MSG_EXCEPT | IPC_NOWAIT);
	SHOW(msgrcv, id, &got, 16, 3, MSG_EXCEPT);
	SHOW(msgctl, id, 99, &ds);
	SHOW(msgctl, id, IPC_STAT, NOWHERE);
	SHOW(msgctl, -1, IPC_STAT, &ds);
	SHOW(msgctl, id, IPC_RMID, NULL);
	SHOW(msgctl, id, IPC_RMID, NULL);
	SHOW(msgrcv, id, &got, 16, 0, 0);
	return 0;
}
