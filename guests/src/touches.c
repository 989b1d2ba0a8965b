/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * touches WHO N SEED: touches pages in N steps by chance (SEED), in runs and here and there, and in between changes what
 * is mapped, with what rights, who shares it, and when the next timer expires.
 *
 *   alone       one process
 *   children    with processes that are forked in between, and touch the same pages
 *   threads     with two threads that do the same
 *
 * Prints after each step the time, the faults, the resident memory and a sum of what was read; exit status 0, 1 if a
 * call failed that must not, 2 for bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096L
#define AREAS 6
#define PAGES 700L

struct toucher {
	unsigned long state, sum;
};

static volatile char *areas[AREAS];
static volatile int ticks, ended;
static int forks;
static __thread sigjmp_buf refused;
static __thread volatile int catches;
static char untouched[64 * PAGE] __attribute__((aligned(4096)));

static unsigned chance(struct toucher *me, unsigned limit)
{
	me->state = me->state * 6364136223846793005 + 1442695040888963407;
	return (me->state >> 33) % limit;
}

static void check(int right)
{
	if (!right)
		_exit(1);
}

static void on_timer(int signo)
{
	(void)signo;
	ticks++;
}

static void on_fault(int signo)
{
	if (!catches)
		_exit(128 + signo);
	siglongjmp(refused, signo);
}

static void touch(struct toucher *me, volatile char *page)
{
	switch (chance(me, 7)) {
	case 0: me->sum += *page; break;
	case 1: me->sum += ++*page; break;
	case 2: *(volatile long *)(page + PAGE - 4) = me->sum; break; /* and the next one */
	case 3: memset((char *)page, 3, PAGE); break;
	case 4: memcpy((char *)page, untouched + chance(me, 60) * PAGE, 3 * PAGE); break;
	default: *page = 1; break;
	}
}

static void touch_some(struct toucher *me)
{
	volatile char *area = areas[chance(me, AREAS)], *other = areas[chance(me, AREAS)];
	unsigned first = chance(me, PAGES), number = 1 + chance(me, chance(me, 4) ? 40 : PAGES);
	int kind = chance(me, 4);

	catches = 1;
	if (!sigsetjmp(refused, 1)) {
		for (unsigned i = 0; i < number; i++) {
			volatile char *page = area + (first + i) % PAGES * PAGE;

			if (kind == 0)
				*page = 1;
			else if (kind == 1)
				me->sum += *page;
			else if (kind == 2)
				touch(me, chance(me, 2) ? page : other + (first + i) % PAGES * PAGE);
			else
				touch(me, area + chance(me, PAGES) * PAGE);
		}
	} else {
		me->sum += 1000;
	}
	catches = 0;
}

static void touch_stack(struct toucher *me, int depth)
{
	volatile char here[2 * PAGE];

	here[chance(me, 2 * PAGE)] = depth;
	if (depth)
		touch_stack(me, depth - 1);
	me->sum += here[0];
}

static void change_mappings(struct toucher *me)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	static const int advice[] = { MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD, MADV_RANDOM };
	long first = chance(me, PAGES) * PAGE, length = (1 + chance(me, 200)) * PAGE;
	char *area = (char *)areas[chance(me, AREAS)];

	if (first + length > PAGES * PAGE)
		length = PAGES * PAGE - first;
	switch (chance(me, 6)) {
	case 0:
		check(mmap(area + first, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
		break;
	case 1: mprotect(area + first, length, prots[chance(me, 4)]); break;
	case 2: madvise(area + first, length, advice[chance(me, chance(me, 8) ? 2 : 6)]); break;
	case 3:
		check(mmap(area, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
		break;
	case 4: munmap(area + first, length); break;
	case 5: memset(malloc(1 + chance(me, 90000)), 1, 1); break;
	}
}

static void set_timer(struct toucher *me)
{
	struct itimerval when = { { 0, 0 }, { 0, 1 + chance(me, 400) } };

	if (chance(me, 4) == 0)
		when.it_interval.tv_usec = 50 + chance(me, 1000);
	setitimer(chance(me, 2) ? ITIMER_REAL : chance(me, 2) ? ITIMER_PROF : ITIMER_VIRTUAL, &when, NULL);
}

static void step(struct toucher *me);

static void fork_and_touch(struct toucher *me)
{
	pid_t child = fork();

	check(child >= 0);
	if (!child) {
		forks = 0;
		for (int i = 0; i < 4; i++)
			step(me);
		_exit(me->sum & 63);
	}
	if (chance(me, 2))
		touch_some(me);
	int status;
	while (waitpid(child, &status, 0) < 0)
		check(errno == EINTR);
	me->sum += status;
}

static void tell(struct toucher *me)
{
	struct rusage usage;
	struct timespec now;
	char line[200], *end = line;

	getrusage(chance(me, 2) ? RUSAGE_SELF : RUSAGE_THREAD, &usage);
	clock_gettime(CLOCK_MONOTONIC, &now);
	end += sprintf(end, "%ld.%09ld %ld %ld %ld.%06ld %ld.%06ld %lu %d\n", now.tv_sec, now.tv_nsec, usage.ru_minflt,
		usage.ru_maxrss, usage.ru_utime.tv_sec, usage.ru_utime.tv_usec, usage.ru_stime.tv_sec, usage.ru_stime.tv_usec,
		me->sum, ticks);
	for (char *at = line; at < end;) {
		ssize_t written = write(1, at, end - at);

		check(written > 0 || errno == EINTR);
		at += written > 0 ? written : 0;
	}
}

static void step(struct toucher *me)
{
	unsigned what = chance(me, 16);

	if (what < 9)
		touch_some(me);
	else if (what < 12)
		change_mappings(me);
	else if (what == 12)
		touch_stack(me, chance(me, 12));
	else if (what == 13)
		set_timer(me);
	else if (what == 14 && forks)
		fork_and_touch(me);
	else
		memset(untouched + chance(me, 60) * PAGE, 2, chance(me, 3 * PAGE));
	tell(me);
}

static void *run(void *of)
{
	struct toucher me = { (unsigned long)of * 77, 0 };

	while (!ended)
		step(&me);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads, number;
	struct toucher me = { 0, 0 };
	struct sigaction action = { .sa_handler = on_timer };
	pthread_t others[2];

	if (argc != 4) {
		fputs("usage: touches alone|children|threads N SEED\n", stderr);
		return 2;
	}
	threads = strcmp(argv[1], "threads") == 0;
	forks = strcmp(argv[1], "children") == 0;
	number = atoi(argv[2]);
	me.state = atol(argv[3]);
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGPROF, &action, NULL);
	sigaction(SIGVTALRM, &action, NULL);
	action.sa_handler = on_fault;
	sigaction(SIGSEGV, &action, NULL);
	int file = memfd_create("file", 0);
	check(!ftruncate(file, (PAGES + 4) * PAGE) && pwrite(file, "written", 7, 9 * PAGE) == 7);
	for (int i = 0; i < AREAS; i++) { /* with some pages behind; the last one is shared, and the one before of a file */
		areas[i] = mmap(NULL, (PAGES + 4) * PAGE, PROT_READ | PROT_WRITE,
			(i == AREAS - 1 ? MAP_SHARED : MAP_PRIVATE) | (i == AREAS - 2 ? 0 : MAP_ANONYMOUS),
			i == AREAS - 2 ? file : -1, 0);
		check(areas[i] != MAP_FAILED);
	}
	for (long i = 0; threads && i < 2; i++)
		check(!pthread_create(&others[i], NULL, run, (void *)(i + 1 + me.state)));
	while (number--)
		step(&me);
	ended = 1;
	for (int i = 0; threads && i < 2; i++)
		pthread_join(others[i], NULL);
	return 0;
}
