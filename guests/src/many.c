/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * many KIND N STEPS: makes N things of a kind, and waits; for each SIGUSR1 it does STEPS
 * times what concerns one of them, or one more, and waits again:
 *
 *   processes  children that wait: fork(2), _exit(2), and wait4(2) of that one
 *   switches   the same children: a byte to another child and back through two pipes
 *   threads    threads that wait: one more is made and joined
 *   files      open descriptors: open(2) and close(2) of /dev/null
 *   entries    files in a directory: open(2) and close(2) of one of them
 *   names      the same files: one more is made and unlinked
 *   pipes      pipes: one more, a byte through it, and both ends closed
 *   mappings   mappings side by side: mmap(2), a store, and munmap(2)
 *   polled     pipes that one epoll(7) watches: a byte into one of them, epoll_wait(2), and its read
 *   regions    regions of msharefs, with a page of memory each: one more is made, and unlinked
 *   timers     timers that are armed: one more is made, armed and deleted
 *
 * Prints nothing; exit status 1 if something failed, 2 for bad usage.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define STACK 16384
#define PRIME 7919
/* msharefs, the file interface (include/mshare.h) */
#define UNIT (1UL << 30)
#define NO_FD 0xffffffffU
#define CREATE_MAPPING 0x40287800UL

static long number;
static int gate[2], to[2], from[2], poller, (*ends)[2];

static void must(int ok)
{
	if (!ok)
		exit(1);
}

static void name_of(char name[static 32], long which)
{
	snprintf(name, 32, "/many/%ld", which);
}

static void region_name(char name[static 48], long which)
{
	snprintf(name, 48, "/sys/fs/mshare/%ld", which);
}

/* A child that waits until this process ends. */
static void keep_a_child(void)
{
	char byte;
	pid_t pid = fork();

	must(pid >= 0);
	if (!pid) {
		close(gate[1]);
		_exit(read(gate[0], &byte, 1) != 0);
	}
}

static void *wait_for_ever(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

static void *end_at_once(void *nothing)
{
	return nothing;
}

static pthread_t new_thread(void *(*function)(void *))
{
	pthread_attr_t small;
	pthread_t thread;

	must(!pthread_attr_init(&small) && !pthread_attr_setstacksize(&small, STACK));
	must(!pthread_create(&thread, &small, function, NULL));
	return thread;
}

static timer_t new_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	struct itimerspec far = { .it_value.tv_sec = 1000000 };
	timer_t timer;

	must(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &far, NULL));
	return timer;
}

static void new_file(long which)
{
	char name[32];

	name_of(name, which);
	must(!close(open(name, O_CREAT | O_EXCL | O_WRONLY, 0600)));
}

static void make_processes(void)
{
	char byte = 0;

	for (long i = 0; i < number; i++)
		keep_a_child();
	must(!pipe(to) && !pipe(from));
	if (!fork())
		for (;;)
			must(read(to[0], &byte, 1) == 1 && write(from[1], &byte, 1) == 1);
}

static void make_threads(void)
{
	for (long i = 0; i < number; i++)
		new_thread(wait_for_ever);
}

static void make_files(void)
{
	for (long i = 0; i < number; i++)
		must(dup(gate[0]) >= 0);
}

static void make_entries(void)
{
	must(!mkdir("/many", 0700));
	for (long i = 0; i < number; i++)
		new_file(i);
}

static void make_pipes(void)
{
	must((ends = calloc(number, sizeof(*ends))) != NULL);
	for (long i = 0; i < number; i++)
		must(!pipe(ends[i]));
}

static void make_polled(void)
{
	make_pipes();
	must((poller = epoll_create1(0)) >= 0);
	for (long i = 0; i < number; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = ends[i][0] };

		must(!epoll_ctl(poller, EPOLL_CTL_ADD, ends[i][0], &event));
	}
}

static void make_mappings(void)
{
	size_t size = 2 * PAGE * (size_t)number;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(memory != MAP_FAILED);
	for (size_t at = 0; at < size; at += 2 * PAGE)
		must(!mprotect(memory + at, PAGE, PROT_READ));
}

static void new_region(long which)
{
	struct {
		unsigned long long offset, size, file_offset;
		unsigned int prot, flags, fd, pad;
	} object = { .size = PAGE, .prot = PROT_READ | PROT_WRITE, .fd = NO_FD,
		     .flags = MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE };
	char name[48];
	int fd;

	region_name(name, which);
	fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
	must(fd >= 0 && !ftruncate(fd, UNIT) && !ioctl(fd, CREATE_MAPPING, &object) && !close(fd));
}

static void make_regions(void)
{
	for (long i = 0; i < number; i++)
		new_region(i);
}

static void make_timers(void)
{
	for (long i = 0; i < number; i++)
		new_timer();
}

static void do_process(long which)
{
	int status = 1;
	pid_t pid = fork();

	(void)which;
	if (!pid)
		_exit(0);
	must(waitpid(pid, &status, 0) == pid && !status);
}

static void do_switch(long which)
{
	char byte = (char)which;

	must(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1);
}

static void do_thread(long which)
{
	(void)which;
	must(!pthread_join(new_thread(end_at_once), NULL));
}

static void do_file(long which)
{
	(void)which;
	must(!close(open("/dev/null", O_RDONLY)));
}

static void do_entry(long which)
{
	char name[32];

	name_of(name, which);
	must(!close(open(name, O_RDONLY)));
}

static void do_name(long which)
{
	char name[32];

	(void)which;
	new_file(number);
	name_of(name, number);
	must(!unlink(name));
}

static void do_pipe(long which)
{
	int two[2];
	char byte = (char)which;

	must(!pipe(two) && write(two[1], &byte, 1) == 1 && read(two[0], &byte, 1) == 1);
	must(!close(two[0]) && !close(two[1]));
}

static void do_polled(long which)
{
	struct epoll_event event;
	char byte = (char)which;

	must(write(ends[which][1], &byte, 1) == 1);
	must(epoll_wait(poller, &event, 1, 0) == 1 && event.data.fd == ends[which][0]);
	must(read(ends[which][0], &byte, 1) == 1);
}

static void do_mapping(long which)
{
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(memory != MAP_FAILED);
	*memory = (char)which;
	must(!munmap(memory, 4 * PAGE));
}

static void do_region(long which)
{
	char name[48];

	(void)which;
	new_region(number);
	region_name(name, number);
	must(!unlink(name));
}

static void do_timer(long which)
{
	(void)which;
	must(!timer_delete(new_timer()));
}

static const struct kind {
	const char *name;
	void (*make)(void);
	void (*step)(long which);
} kinds[] = {
	{ "processes", make_processes, do_process },
	{ "switches", make_processes, do_switch },
	{ "threads", make_threads, do_thread },
	{ "files", make_files, do_file },
	{ "entries", make_entries, do_entry },
	{ "names", make_entries, do_name },
	{ "pipes", make_pipes, do_pipe },
	{ "polled", make_polled, do_polled },
	{ "mappings", make_mappings, do_mapping },
	{ "regions", make_regions, do_region },
	{ "timers", make_timers, do_timer },
};

static void on_signal(int signo)
{
	(void)signo;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct rlimit most = { 1 << 18, 1 << 18 };
	sigset_t blocked, before;
	long steps = argc > 3 ? atol(argv[3]) : 0, done = 0;

	number = argc > 2 ? atol(argv[2]) : 0;
	must(!setrlimit(RLIMIT_NOFILE, &most) && !setrlimit(RLIMIT_SIGPENDING, &most));
	must(!setrlimit(RLIMIT_NPROC, &most));
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigaction(SIGUSR1, &action, NULL);
	must(!pipe(gate));
	for (size_t i = 0; number > 0 && steps > 0 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, argv[1]))
			continue;
		kinds[i].make();
		for (;;) {
			sigsuspend(&before);
			for (long left = steps; left; left--)
				kinds[i].step(done++ * PRIME % number);
		}
	}
	return 2;
}
