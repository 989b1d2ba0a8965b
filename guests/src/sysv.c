/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sysv [shm | sem | msg]: System V IPC, each call with its result, errors by name; the same on every Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_COPY /* linux/msg.h */
#define MSG_COPY 040000
#endif

static const char *name(int error)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		{0, ""}, {EPERM, "EPERM"}, {ENOENT, "ENOENT"}, {EINTR, "EINTR"}, {E2BIG, "E2BIG"},
		{EAGAIN, "EAGAIN"}, {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}, {EFAULT, "EFAULT"},
		{EEXIST, "EEXIST"}, {EINVAL, "EINVAL"}, {EFBIG, "EFBIG"}, {ENOSPC, "ENOSPC"},
		{ERANGE, "ERANGE"}, {ENOMSG, "ENOMSG"}, {EIDRM, "EIDRM"},
	};
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].number == error)
			return names[i].name;
	return "another error";
}

/* The result of a call. */
#define R(call)                                                                        \
	do {                                                                           \
		errno = 0;                                                             \
		long result = (long)(call);                                            \
		printf("%s = %ld %s\n", #call, result, result < 0 ? name(errno) : "");  \
		fflush(stdout);                                                        \
	} while (0)
/* The same of a call that lets the child go on: what it prints comes first. */
#define W(call)                                                                        \
	do {                                                                           \
		errno = 0;                                                             \
		long result = (long)(call);                                            \
		int error = errno;                                                     \
		wait(0);                                                               \
		printf("%s = %ld %s\n", #call, result, result < 0 ? name(error) : "");  \
		fflush(stdout);                                                        \
	} while (0)
/* Of one that gives an address or an identifier: whether it works. */
#define Z(call)                                                                        \
	do {                                                                           \
		errno = 0;                                                             \
		long result = (long)(call);                                            \
		printf("%s %s\n", #call, result < 0 ? name(errno) : "works");           \
		fflush(stdout);                                                        \
	} while (0)

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *__buf;
};
static void shm(void)
{
	int k = 0x12340000 + getpid() % 1000;
	Z(shmget(k, 0, IPC_CREAT | 0600));
	Z(shmget(k, 100, 0600));
	int id = shmget(k, 10000, IPC_CREAT | 0600);
	Z(id);
	Z(shmget(k, 10001, 0600));
	Z(shmget(k, 5000, IPC_CREAT | IPC_EXCL | 0600));
	printf("%d\n", shmget(k, 5000, 0) == id);
	struct shmid_ds d;
	R(shmctl(id, IPC_STAT, &d));
	printf("%zu %lu %o %d %d\n", d.shm_segsz, (unsigned long)d.shm_nattch, d.shm_perm.mode,
	       d.shm_cpid == getpid(), d.shm_lpid);
	char *p = shmat(id, 0, 0);
	Z(p);
	char *q = shmat(id, 0, SHM_RDONLY);
	Z(q);
	strcpy(p, "hello");
	printf("%s\n", q);
	R(shmctl(id, IPC_STAT, &d));
	printf("%lu %d\n", (unsigned long)d.shm_nattch, d.shm_lpid == getpid());
	Z(shmat(id, p + 1, 0));
	Z(shmat(id, p, 0));
	Z(shmat(id, 0, SHM_REMAP));
	Z(shmat(-1, 0, 0));
	Z(shmat(id + 1, 0, 0));
	printf("%d\n", (char *)shmat(id, p + 5, SHM_RND | SHM_REMAP) == p);
	if (!fork()) {
		shmctl(id, IPC_STAT, &d);
		printf("child %lu\n", (unsigned long)d.shm_nattch);
		p[0] = 'H';
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	printf("%s\n", p);
	R(shmctl(id, IPC_STAT, &d));
	printf("%lu\n", (unsigned long)d.shm_nattch);
	R(shmctl(id, IPC_RMID, 0));
	R(shmctl(id, IPC_STAT, &d));
		printf("%o\n", d.shm_perm.mode);
	Z(shmget(k, 100, 0));
	R(shmdt(q + 4096));
	R(shmdt(q + 1));
	R(shmdt(q));
	R(shmdt(q));
	R(shmdt(p));
	R(shmctl(id, IPC_STAT, &d));
	Z(shmget(IPC_PRIVATE, -1, 0600));
	struct shminfo si;
	Z(shmctl(0, IPC_INFO, (void *)&si));
	printf("%lx %lu %lu %lu %lx\n", si.shmmax, si.shmmin, si.shmmni, si.shmseg, si.shmall);
	R(shmctl(id, 99, 0));
	R(shmctl(-1, IPC_STAT, &d));
	id = shmget(IPC_PRIVATE, 4096 * 3, 0600);
	p = shmat(id, 0, 0);
	Z(p);
	shmctl(id, IPC_STAT, &d);
	d.shm_perm.mode = 0644;
	R(shmctl(id, IPC_SET, &d));
	shmctl(id, IPC_STAT, &d);
	printf("%o\n", d.shm_perm.mode);
	R(shmctl(id, IPC_SET, 0));
	R(shmctl(id, IPC_STAT, 0));
	R(shmctl(id, SHM_LOCK, 0));
	shmctl(id, IPC_STAT, &d);
	printf("%o\n", d.shm_perm.mode);
	R(shmctl(id, SHM_UNLOCK, 0));
	shmctl(id, IPC_RMID, 0);
	R(shmdt(p));
}

static void on(int signo)
{
	(void)signo;
}


static void sem(void)
{
	Z(semget(IPC_PRIVATE, 0, 0600));
	Z(semget(IPC_PRIVATE, 32001, 0600));
	Z(semget(IPC_PRIVATE, -1, 0600));
	int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
	Z(id);
	union semun u;
	unsigned short v[3] = { 1, 2, 3 };
	u.array = v;
	R(semctl(id, 0, SETALL, u));
	R(semctl(id, 1, GETVAL));
	memset(v, 0, 6);
	R(semctl(id, 0, GETALL, u));
	printf("%d %d %d\n", v[0], v[1], v[2]);
	u.val = 40000;
	R(semctl(id, 0, SETVAL, u));
	u.val = -1;
	R(semctl(id, 0, SETVAL, u));
	u.val = 5;
	R(semctl(id, 3, SETVAL, u));
	R(semctl(id, 0, SETVAL, u));
	R(semctl(id, 0, GETPID) - getpid());
	struct sembuf a[2] = { {0, -3, 0}, {1, -3, IPC_NOWAIT} };
	R(semop(id, a, 2));
	R(semctl(id, 0, GETVAL));
	a[1].sem_op = -2;
	R(semop(id, a, 2));
	R(semctl(id, 0, GETVAL));
	struct sembuf b = { 3, 1, 0 };
	R(semop(id, &b, 1));
	R(semop(id, &b, 0));
	R(semop(id, &b, 501));
	R(semop(-1, &b, 1));
	R(semop(id, 0, 1));
	struct sembuf big = { 0, 32767, 0 };
	R(semop(id, &big, 1));
	struct timespec ts = { 0, 20000000 };
	struct sembuf w = { 1, -1, 0 };
	R(semtimedop(id, &w, 1, &ts));
	ts.tv_nsec = -1;
	R(semtimedop(id, &w, 1, &ts));
	if (!fork()) {
		struct sembuf undo = { 1, 1, SEM_UNDO };
		semop(id, &undo, 1);
		_exit(0);
	}
	wait(0);
	R(semctl(id, 1, GETVAL));
	pid_t c = fork();
	if (!c) {
		int r = semop(id, &w, 1);
		printf("child %d\n", r);
		fflush(stdout);
		_exit(0);
	}
	while (semctl(id, 1, GETNCNT) != 1)
		usleep(1000);
	R(semctl(id, 1, GETNCNT));
	R(semctl(id, 1, GETZCNT));
	struct sembuf up = { 1, 1, 0 };
	W(semop(id, &up, 1));
	R(semctl(id, 1, GETVAL));
	c = fork();
	if (!c) {
		int r = semop(id, &w, 1);
		printf("child %d %s\n", r, name(errno));
		fflush(stdout);
		_exit(0);
	}
	while (semctl(id, 1, GETNCNT) != 1)
		usleep(1000);
	W(semctl(id, 0, IPC_RMID));
	R(semctl(id, 0, GETVAL));
	R(semop(id, &w, 1));
	id = semget(IPC_PRIVATE, 1, 0600);
	struct sigaction sa = {.sa_handler = on,.sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &sa, 0);
	c = fork();
	if (!c) {
		struct sembuf d = { 0, -1, 0 };
		int r = semop(id, &d, 1);
		printf("child %d %s\n", r, name(errno));
		fflush(stdout);
		_exit(0);
	}
	while (semctl(id, 0, GETNCNT) != 1)
		usleep(1000);
	kill(c, SIGUSR1);
	wait(0);
	R(semctl(id, 0, GETNCNT));
	struct semid_ds d;
	u.buf = &d;
	R(semctl(id, 0, IPC_STAT, u));
	printf("%lu %o\n", (unsigned long)d.sem_nsems, d.sem_perm.mode);
	R(semctl(id, 0, 99));
	struct seminfo si;
	u.__buf = &si;
	Z(semctl(0, 0, IPC_INFO, u));
	printf("%d %d %d %d %d %d %d %d %d %d\n", si.semmap, si.semmni, si.semmns, si.semmnu, si.semmsl,
	       si.semopm, si.semume, si.semusz, si.semvmx, si.semaem);
	R(semctl(id, 0, IPC_RMID));
}

struct m {
	long t;
	char s[9000];
};
static void msgq(void)
{
	int id = msgget(IPC_PRIVATE, 0600);
	Z(id);
	struct m x;
	x.t = 0;
	R(msgsnd(id, &x, 1, 0));
	x.t = 3;
	strcpy(x.s, "three");
	R(msgsnd(id, &x, 6, 0));
	x.t = 1;
	strcpy(x.s, "one");
	R(msgsnd(id, &x, 4, 0));
	x.t = 2;
	strcpy(x.s, "two");
	R(msgsnd(id, &x, 4, 0));
	R(msgsnd(id, &x, 8193, 0));
	R(msgsnd(-1, &x, 1, 0));
	R(msgsnd(id, 0, 1, 0));
	struct msqid_ds d;
	R(msgctl(id, IPC_STAT, &d));
	printf("%lu %lu %lu\n", d.msg_qnum, d.__msg_cbytes, d.msg_qbytes);
	R(msgrcv(id, &x, 100, -2, 0));
	printf("%ld %s\n", x.t, x.s);
	R(msgrcv(id, &x, 100, 3, MSG_EXCEPT));
	printf("%ld %s\n", x.t, x.s);
	R(msgrcv(id, &x, 3, 0, 0));
	R(msgrcv(id, &x, 100, 0, MSG_COPY | IPC_NOWAIT));
	R(msgrcv(id, &x, 3, 0, MSG_NOERROR));
	printf("%ld %.3s\n", x.t, x.s);
	R(msgrcv(id, &x, 3, 0, IPC_NOWAIT));
	R(msgrcv(id, &x, 3, 0, MSG_COPY));
	x.t = 7;
	R(msgsnd(id, &x, 8192, 0));
	R(msgsnd(id, &x, 8192, 0));
	R(msgsnd(id, &x, 1, IPC_NOWAIT));
	R(msgsnd(id, &x, 0, IPC_NOWAIT));
	pid_t c = fork();
	if (!c) {
		x.t = 9;
		int r = msgsnd(id, &x, 10, 0);
		printf("child %d\n", r);
		fflush(stdout);
		_exit(0);
	}
	usleep(20000);
	W(msgrcv(id, &x, 8192, 0, 0));
	R(msgrcv(id, &x, 8192, 9, 0));
	c = fork();
	if (!c) {
		int r = msgrcv(id, &x, 10, 5, 0);
		printf("child %d %s\n", r, name(errno));
		fflush(stdout);
		_exit(0);
	}
	usleep(20000);
	d.msg_qbytes = 100;
	R(msgctl(id, IPC_SET, &d));
	W(msgctl(id, IPC_RMID, 0));
	R(msgctl(id, IPC_RMID, 0));
	R(msgsnd(id, &x, 1, 0));
	struct msginfo mi;
	Z(msgctl(0, IPC_INFO, (void *)&mi));
	printf("%d %d %d %d %d %d %d %d\n", mi.msgpool, mi.msgmap, mi.msgmax, mi.msgmnb, mi.msgmni, mi.msgssz,
	       mi.msgtql, mi.msgseg);
}

int main(int n, char **a)
{
	if (n < 2 || !strcmp(a[1], "shm"))
		shm();
	if (n < 2 || !strcmp(a[1], "sem"))
		sem();
	if (n < 2 || !strcmp(a[1], "msg"))
		msgq();
	return 0;
}
