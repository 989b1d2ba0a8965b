/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWIPC: System V objects of one's own, gone with the last process in it. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/ipc.h>
#include <linux/msg.h>
#include <linux/sem.h>
#include <linux/shm.h>

int main(void)
{
	long shm, pid, queue, at;
	int own;
	struct stat one, other;

	MUST(unshare, CLONE_NEWIPC);
	own = MUST(open, "/proc/self/ns/ipc", O_RDONLY);
	shm = SHOW(shmget, 77, 4096, IPC_CREAT | 0600);
	SHOW(msgget, 77, IPC_CREAT | 0600);
	SHOW(semget, 77, 2, IPC_CREAT | 0600);
	at = MUST(shmat, shm, 0, 0);
	*(char *)at = 'a';
	pid = MUST(fork);
	if (!pid) {
		SHOW(shmget, 77, 4096, 0);
		MUST(unshare, CLONE_NEWIPC);
		SHOW(shmget, 77, 4096, 0);
		SHOW(msgget, 77, 0);
		SHOW(semget, 77, 0, 0);
		SHOW(shmctl, shm, IPC_RMID, 0);
		print("attached still: %c\n", *(char *)at);
		SHOW(shmdt, at);
		queue = SHOW(msgget, 77, IPC_CREAT | IPC_EXCL | 0600);
		SHOW(shmget, 77, 8192, IPC_CREAT | IPC_EXCL | 0600);
		MUST(stat, "/proc/self/ns/ipc", &one);
		MUST(fstat, own, &other);
		SAY(one.st_ino == other.st_ino);
		SHOW(setns, own, CLONE_NEWIPC);
		SHOW(msgctl, queue, IPC_RMID, 0);
		SHOW(shmget, 77, 4096, 0);
		leave(0);
	}
	reap(pid);
	SHOW(shmctl, shm, IPC_RMID, 0);
	SHOW(msgget, 77, 0);
	SHOW(semget, 77, 0, 0);
	return 0;
}
