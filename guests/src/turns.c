/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns WHO N SEED RARE: two or three tasks send messages around through pipes, N times, and do something else by chance
 * (SEED) once in RARE steps, of what could come between them: faults, signals, short reads, more than one message in
 * a pipe, other system calls, sleeping, other processes.
 *
 *   processes   a parent and a child
 *   threads     two threads
 *   three       three processes
 *   words       two threads that wake each other by futex(2)
 *
 * Prints what getrusage(2) and /proc/self/io say of it, and how many signals came; exit status 0, 1 if a message was
 * not what had been sent, 2 for bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#define PAGES 64
#define LONGEST 2500

struct end {
	int in, out, first;
	long number;
	pid_t peer;
};

static unsigned long state;
static unsigned rare;
static int own[2];
static char *pages;
static volatile int handled;

static unsigned chance(unsigned limit)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % limit;
}

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

static void check(int right)
{
	if (!right)
		_exit(1);
}

static void through_own_pipe(char *buffer)
{
	check(write(own[1], "abcdefg", 7) == 7);
	if (chance(2))
		check(read(own[0], buffer, 3) == 3 && read(own[0], buffer, 4) == 4);
	else
		check(write(own[1], "hi", 2) == 2 && read(own[0], buffer, 64) == 9);
}

static void read_at_once(char *buffer)
{
	fcntl(own[0], F_SETFL, O_NONBLOCK);
	check(read(own[0], buffer, 9) == -1 && errno == EAGAIN);
	fcntl(own[0], F_SETFL, 0);
}

static void fork_and_wait(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static void map_and_unmap(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*page = 1;
	munmap(page, 4096);
}

static void spin(unsigned turns)
{
	for (volatile unsigned left = turns; left; left--)
		;
}

static void something_else(pid_t peer)
{
	struct pollfd polled = { own[0], POLLIN, 0 };
	struct timespec moment = { 0, 20000 };
	char buffer[64];

	if (chance(rare))
		return;
	switch (chance(12)) {
	case 0: getppid(); getuid(); break;
	case 1: pages[chance(PAGES) * 4096]++; break;
	case 2: map_and_unmap(); break;
	case 3: if (peer) kill(peer, SIGUSR1); break;
	case 4: nanosleep(&moment, NULL); break;
	case 5: close(dup(own[0])); break;
	case 6: through_own_pipe(buffer); break;
	case 7: poll(&polled, 1, 0); break;
	case 8: read_at_once(buffer); break;
	case 9: fork_and_wait(); break;
	case 10: spin(chance(60000)); break;
	case 11: sched_yield(); break;
	}
}

/* Moves a message as a whole or in pieces; a handler without SA_RESTART interrupts that. */
static void move(struct end *end, ssize_t (*call)(int, void *, size_t), int fd, char *message, size_t length)
{
	while (length) {
		size_t piece = chance(6) ? length : 1 + chance(length);
		ssize_t done = call(fd, message, piece);

		if (done < 0 && errno == EINTR)
			continue;
		check(done > 0);
		message += done;
		length -= done;
		something_else(end->peer);
	}
}

static ssize_t send_some(int fd, void *message, size_t length)
{
	return write(fd, message, length);
}

static void *messages(void *argument)
{
	struct end *end = argument;
	char message[LONGEST];

	for (long n = 0; n < end->number; n++) {
		size_t length = 1 + n * 7919 % (n % 13 ? 90 : LONGEST);

		memset(message, n, length);
		if (end->first)
			move(end, send_some, end->out, message, length);
		memset(message, 0, length);
		move(end, read, end->in, message, length);
		check(message[0] == (char)n && message[length - 1] == (char)n);
		if (!end->first)
			move(end, send_some, end->out, message, length);
	}
	return NULL;
}

static atomic_int words[2];

static void *wakes(void *argument)
{
	struct end *end = argument;

	for (long n = 0; n < end->number; n++) {
		if (end->first || n) {
			atomic_store(&words[end->first], 1);
			syscall(SYS_futex, &words[end->first], FUTEX_WAKE_PRIVATE, 1);
		}
		something_else(end->peer);
		while (!atomic_exchange(&words[!end->first], 0))
			syscall(SYS_futex, &words[!end->first], FUTEX_WAIT_PRIVATE, 0, NULL);
	}
	if (!end->first) {
		atomic_store(&words[0], 1);
		syscall(SYS_futex, &words[0], FUTEX_WAKE_PRIVATE, 1);
	}
	return NULL;
}

static int in_threads(void *(*work)(void *), int *to, int *from, long number)
{
	struct end here = { from[0], to[1], 1, number, getpid() }, there = { to[0], from[1], 0, number, 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, &there))
		return 1;
	work(&here);
	return pthread_join(thread, NULL) != 0;
}

/* A ring of pipes: the first of them leads from the parent, the last one back to it. */
static int in_processes(int (*ring)[2], int children, long number)
{
	struct end here = { ring[children][0], ring[0][1], 1, number, 0 };
	int status, wrong = 0;

	for (int n = 0; n < children; n++) {
		struct end there = { ring[n][0], ring[n + 1][1], 0, number, getpid() };
		pid_t child = fork();

		if (!child) {
			state ^= 99 + n;
			messages(&there);
			_exit(0);
		}
		here.peer = child;
	}
	messages(&here);
	for (pid_t child; (child = wait(&status)) > 0 || errno == EINTR;)
		wrong |= child > 0 && status;
	return wrong;
}

static void print_usage(void)
{
	struct rusage usage;
	char line[100];
	FILE *io = fopen("/proc/self/io", "r");

	for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
		getrusage(who, &usage);
		printf("%ld us user, %ld us system, %ld faults, %ld and %ld switches\n", usage.ru_utime.tv_usec,
		       usage.ru_stime.tv_usec, usage.ru_minflt, usage.ru_nvcsw, usage.ru_nivcsw);
	}
	while (io && fgets(line, sizeof(line), io))
		fputs(line, stdout);
	printf("%d signals\n", handled);
}

int main(int argc, char **argv)
{
	const char *who = argc > 4 ? argv[1] : "";
	long number = argc > 4 ? atol(argv[2]) : 0;
	struct sigaction action = { .sa_handler = on_signal };
	int ring[3][2], wrong = 2;

	state = argc > 4 ? atol(argv[3]) * 7777 + 1 : 0;
	rare = argc > 4 ? atoi(argv[4]) : 1;
	action.sa_flags = chance(2) ? SA_RESTART : 0;
	sigaction(SIGUSR1, &action, NULL);
	pages = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || pipe(own) || pipe(ring[0]) || pipe(ring[1]) || pipe(ring[2]))
		return 1;
	if (!strcmp(who, "processes"))
		wrong = in_processes(ring, 1, number);
	else if (!strcmp(who, "three"))
		wrong = in_processes(ring, 2, number);
	else if (!strcmp(who, "threads"))
		wrong = in_threads(messages, ring[0], ring[1], number);
	else if (!strcmp(who, "words"))
		wrong = in_threads(wakes, ring[0], ring[1], number);
	if (wrong != 2)
		print_usage();
	return wrong;
}
