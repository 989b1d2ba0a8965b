/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * joins N SEED: takes N steps by chance (SEED) of what threads come and go with: threads that are made and joined, one
 * or three at a time; signal masks, with and without a pending signal, and in memory that is not there; private memory
 * that is mapped without rights, given some, written to, and unmapped, as a whole, in parts and across several mappings.
 *
 * Prints what every call gave, in one number, what is mapped in the end, and how many signals came; exit status 0, 2 for
 * bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENA ((char *)0x10000000)
#define PAGES 64
#define PAGE 4096L
#define KEPT 6

static unsigned long state, digest;
static volatile int handled;
static char *kept[KEPT], *first;
static long length[KEPT];

static unsigned chance(unsigned limit)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % limit;
}

static void note(long value)
{
	digest = (digest ^ (unsigned long)value) * 1099511628211UL;
	digest ^= digest >> 29;
}

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

static void noted(long result)
{
	note(result == -1 ? -errno : result);
}

static int any_rights(void)
{
	static const int rights[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
				      PROT_READ | PROT_EXEC };

	return rights[chance(sizeof(rights) / sizeof(*rights))];
}

/* Which masks there are: none, one that cannot be changed, USR1 and USR2, all. */
static void mask(void)
{
	static const unsigned long masks[] = { 0, 1UL << 8 | 1UL << 18, 1UL << 9 | 1UL << 11, 1UL << 9, ~0UL };
	unsigned long set = masks[chance(5)], old = 0;
	void *const new = chance(6) ? (void *)&set : chance(4) ? NULL : (void *)1;
	void *const before = chance(3) ? (chance(12) ? (void *)&old : (void *)1) : NULL;

	noted(syscall(SYS_rt_sigprocmask, chance(20) ? (int)chance(3) : 7, new, before, chance(20) ? 8 : 4));
	note(old);
}

static void masks(void)
{
	for (unsigned left = 1 + chance(6); left; left--) {
		mask();
		if (!chance(6))
			noted(syscall(SYS_kill, getpid(), chance(2) ? SIGUSR1 : SIGUSR2));
	}
}

static void *thread(void *argument)
{
	char deep[3 * PAGE];
	long pages = (long)argument % 3;

	for (long page = 0; page <= pages; page++)
		deep[page * PAGE] = (char)page;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &(unsigned long){ 1UL << 33 }, NULL, 8);
	return (void *)(deep[pages * PAGE] + 2 * pages);
}

static void threads(void)
{
	pthread_t made[3];
	unsigned number = chance(4) ? 1 : 3;
	pthread_attr_t attributes;
	void *result;

	pthread_attr_init(&attributes);
	if (chance(3))
		pthread_attr_setstacksize(&attributes, (16 + chance(4) * 16) * 1024);
	if (!chance(3))
		pthread_attr_setguardsize(&attributes, 0);
	for (unsigned each = 0; each < number; each++)
		note(pthread_create(&made[each], &attributes, thread, (void *)(long)chance(9)));
	for (unsigned each = 0; each < number; each++) {
		note(pthread_join(made[each], &result));
		note((long)result);
	}
}

/* A mapping where the kernel wants it, as a stack is made. */
static void anywhere(void)
{
	unsigned at = chance(KEPT);

	if (kept[at]) {
		noted(munmap(kept[at], length[at]));
		kept[at] = NULL;
		return;
	}
	length[at] = (1 + chance(40)) * PAGE - (chance(4) ? 0 : 100);
	kept[at] = mmap(NULL, length[at], chance(2) ? PROT_NONE : PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | (chance(3) ? 0 : MAP_STACK | MAP_NORESERVE), -1, 0);
	if (!first)
		first = kept[at];
	note(kept[at] - first);
	noted(mprotect(kept[at] + (chance(2) ? PAGE : 0), length[at] > 2 * PAGE ? length[at] - 2 * PAGE : PAGE,
		       PROT_READ | PROT_WRITE));
	if (length[at] > 3 * PAGE && chance(3))
		kept[at][PAGE + chance(length[at] - 3 * PAGE)] = 1;
}

static void arena(void)
{
	char *at = ARENA + chance(PAGES) * PAGE;
	long size = (1 + chance(chance(3) ? 4 : 20)) * PAGE - (chance(5) ? 0 : 7);

	switch (chance(6)) {
	case 0:
		note((long)mmap(at, size, any_rights(), MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		break;
	case 1:
	case 2:
		noted(mprotect(at + (chance(20) ? 0 : 5), size, any_rights()));
		break;
	case 3:
		noted(munmap(at + (chance(20) ? 0 : 5), chance(20) ? size : 0));
		break;
	default:
		if (!mprotect(at, PAGE, PROT_READ | PROT_WRITE))
			*at = 1;
	}
}

static void child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		arena();
		_exit((int)chance(100));
	}
	waitpid(pid, &status, 0);
	note(status);
}

static void show(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[256];

	while (fgets(line, sizeof(line), maps))
		if (!strncmp(line, "1000", 4) && line[8] == '-')
			fputs(line, stdout);
	fclose(maps);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (argc != 3)
		return 2;
	state = strtoul(argv[2], NULL, 10);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (long left = strtol(argv[1], NULL, 10); left; left--)
		switch (chance(left % 32 ? 9 : 10)) {
		case 0:
		case 1:
			threads();
			break;
		case 2:
		case 3:
			masks();
			break;
		case 4:
		case 5:
			anywhere();
			break;
		case 9:
			child();
			break;
		default:
			arena();
		}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &(unsigned long){ 0 }, NULL, 8);
	show();
	printf("%lx, %d signals\n", digest, handled);
	return 0;
}
