/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * costs WHAT N [MUCH]: does one thing N times, to see what it costs:
 *
 *   calls      getpid(2)
 *   clocks     the process's CPU time by clock_gettime(2), and at times the thread's
 *   io         a read(2) of 512 bytes from /dev/zero, and a write(2) of them to /dev/null
 *   signals    a signal to itself, its handler, and the way back
 *   pipes      a byte to a child and back, through two pipes
 *   threads    a wake of another thread by futex(2), and its wake of this one
 *   joins      pthread_create(3) and pthread_join(3) of a thread
 *   forks      fork(2), _exit(2) and wait(2) of a process that has written to MUCH MiB
 *   mappings   the same of a process that has made MUCH mappings
 *   programs   the same as forks with an execve(2) of this program in between, which does nothing
 *
 * Prints nothing, exit status 0; 1 if something failed, 2 for bad usage.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129

extern char **environ;

static int calls(long number)
{
	long pid = getpid();
	int wrong = 0;

	while (number--)
		wrong |= syscall(SYS_getpid) != pid;
	return wrong;
}

static int clocks(long number)
{
	struct timespec before = { 0 }, now;
	int wrong = 0;

	while (number--) {
		clockid_t clock = number & 127 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID;
		char *const at = number & 255 ? (char *)&now : NULL;

		wrong |= syscall(SYS_clock_gettime, clock, at) != (at ? 0 : -1);
		wrong |= now.tv_sec == before.tv_sec ? now.tv_nsec < before.tv_nsec : now.tv_sec < before.tv_sec;
		before = now;
	}
	return wrong;
}

static int io(long number)
{
	static char buffer[512];
	int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY), wrong = 0;

	while (number--) {
		wrong |= read(zero, buffer, sizeof(buffer)) != sizeof(buffer);
		wrong |= write(null, buffer, sizeof(buffer)) != sizeof(buffer);
	}
	return wrong;
}

static volatile long handled;

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

static int signals(long number)
{
	struct sigaction action = { .sa_handler = on_signal };
	pid_t pid = getpid();

	sigaction(SIGUSR1, &action, NULL);
	for (long left = number; left; left--)
		kill(pid, SIGUSR1);
	return handled != number;
}

static int pipes(long number)
{
	int to[2], from[2], status = 0;
	char byte = 1;

	if (pipe(to) || pipe(from))
		return 1;
	if (!fork()) {
		while (number--)
			if (read(to[0], &byte, 1) != 1 || write(from[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	while (number--)
		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			return 1;
	wait(&status);
	return status != 0;
}

static atomic_int ping, pong;

static void await(atomic_int *word)
{
	while (!atomic_exchange(word, 0))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static void awake(atomic_int *word)
{
	atomic_store(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

static void *other(void *number)
{
	for (long left = (long)number; left; left--) {
		await(&ping);
		awake(&pong);
	}
	return NULL;
}

static int threads(long number)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, other, (void *)number))
		return 1;
	while (number--) {
		awake(&ping);
		await(&pong);
	}
	return pthread_join(thread, NULL) != 0;
}

static void *ends(void *argument)
{
	return argument;
}

static int joins(long number)
{
	pthread_t thread;
	int wrong = 0;

	while (number-- && !wrong)
		wrong = pthread_create(&thread, NULL, ends, NULL) || pthread_join(thread, NULL);
	return wrong;
}

static int mappings(long number, long of_them)
{
	char *memory = mmap(NULL, of_them << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status = 0, wrong = 0;

	if (memory == MAP_FAILED)
		return 1;
	for (long page = 0; page < of_them; page += 2)
		wrong |= mprotect(memory + (page << 12), 4096, PROT_READ);
	while (number--) {
		if (!fork())
			_exit(0);
		wrong |= wait(&status) < 0 || status;
	}
	return wrong;
}

static int forks(long number, long mib, int new_program)
{
	char *const words[] = { "costs", "calls", "0", NULL };
	size_t size = (size_t)mib << 20;
	char *memory = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status = 0, wrong = 0;

	if (memory == MAP_FAILED)
		return 1;
	for (size_t at = 0; at < size; at += 4096)
		memory[at] = 1;
	while (number--) {
		if (!fork()) {
			if (new_program)
				execve("/proc/self/exe", words, environ);
			_exit(new_program);
		}
		wrong |= wait(&status) < 0 || status;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	long number = argc > 2 ? atol(argv[2]) : 0, mib = argc > 3 ? atol(argv[3]) : 0;

	if (!strcmp(what, "calls"))
		return calls(number);
	if (!strcmp(what, "clocks"))
		return clocks(number);
	if (!strcmp(what, "io"))
		return io(number);
	if (!strcmp(what, "signals"))
		return signals(number);
	if (!strcmp(what, "pipes"))
		return pipes(number);
	if (!strcmp(what, "threads"))
		return threads(number);
	if (!strcmp(what, "joins"))
		return joins(number);
	if (!strcmp(what, "mappings"))
		return mappings(number, mib);
	if (!strcmp(what, "forks") || !strcmp(what, "programs"))
		return forks(number, mib, what[0] == 'p');
	return 2;
}
