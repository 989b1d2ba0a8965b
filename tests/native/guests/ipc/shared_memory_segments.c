/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shmget(2), shmat(2), shmdt(2), shmctl(2). */
#include "native.h"
#include <sys/ipc.h>
#include <sys/shm.h>

int main(void)
{
	struct shmid_ds ds;
	int id = MUST(shmget, IPC_PRIVATE, 5000, 0600);
	SHOW(shmget, IPC_PRIVATE, 0, 0600);
	SHOW(shmget, 0x7ead5eed, 100, 0);
	char *p = (void *)MUST(shmat, id, 0, 0), *ro = (void *)MUST(shmat, id, 0, SHM_RDONLY);
	p[4999] = 7;
	SAY(ro[4999]);
	SHOW(shmctl, id, IPC_STAT, &ds);
	print("%ld %ld %o\n", (long)ds.shm_segsz, (long)ds.shm_nattch, ds.shm_perm.mode);
	SHOW(shmat, id, 1, 0);
	SHOW(shmat, id, p, 0);
	SHOW(shmat, id, 0, SHM_REMAP);
	SHOW(shmat, -1, 0, 0);
	SHOW(shmat, id + 32768 * 3, 0, 0);
	SHOW(shmdt, ro);
	SHOW(shmdt, ro);
	SHOW(shmdt, p + 1);
	SHOW(shmctl, id, 99, &ds);
	SHOW(shmctl, id, IPC_STAT, NOWHERE);
	SHOW(shmctl, -1, IPC_STAT, &ds);
	SHOW(shmctl, id, IPC_RMID, NULL);
	SHOW(shmctl, id, IPC_STAT, &ds);
	print("%o\n", ds.shm_perm.mode);
	long pid = MUST(fork);
	if (!pid)
		leave(p[4999]);
	reap(pid);
	SHOW(shmdt, p);
	SHOW(shmctl, id, IPC_STAT, &ds);
	return 0;
}
