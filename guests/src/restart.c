/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restart [pair FIRST SECOND]: system calls that a signal interrupts while they wait,
 * and that start again where its handler has SA_RESTART.
 *
 * Prints:
 *   read: 1, handlers 1
 *   read without SA_RESTART: EINTR, handlers 1
 *   wait4: 7, handlers 1
 *   waitid: 7, handlers 1
 *   futex: woken, handlers 1
 *   read in a handler: 1, then 1, handlers 2
 *   reads of 3 threads: 3, handlers 3
 *   two at once: 21
 *
 * With "pair": one read, interrupted by SIGUSR1 and SIGUSR2 at once; FIRST and SECOND
 * are 1 for SA_RESTART, 0 without.
 */
#include "thread.h"

#define NR_NANOSLEEP 35
#define NR_TGKILL 234
#define NR_WAITID 247
#define FUTEX_WAKE 1
#define SA_RESTART 0x10000000UL
#define P_PID 1
#define WEXITED 4
#define THREADS 3
#define CHILD(pid) for (pid = must(sys_fork(), "fork"); pid == 0; sys_exit_group(7))

static int data[2], inner[2], told[2]; /* pipes */
static volatile int handlers, order[2], nr_order;
static long inner_result;

static void handler(int signo)
{
	__sync_fetch_and_add(&handlers, 1);
	if (nr_order < 2)
		order[nr_order++] = signo;
	sys_write(told[1], "", 1);
}

static void reading_handler(int signo)
{
	char byte;

	handler(signo);
	inner_result = sys_read(inner[0], &byte, 1);
}

/* Long enough for the other side to wait; nothing printed depends on it. */
static void nap(void)
{
	u64 time[2] = { 0, 20000000 };

	syscall3(NR_NANOSLEEP, (u64)time, 0, 0);
}

static void handled(int times)
{
	char byte;

	while (times)
		times -= sys_read(told[0], &byte, 1) == 1;
}

/* In a child: interrupts the parent, and goes on when its handler has run. */
static void interrupt(long parent)
{
	nap();
	sys_kill(parent, SIGUSR1);
	handled(1);
	nap();
}

static void begin(u64 flags)
{
	handlers = 0;
	on_signal(SIGUSR1, handler, flags, 0);
}

static void result(const char *what, long value)
{
	if (is_error(value))
		print("%s: %s, handlers %d\n", what, result_name(value), handlers);
	else
		print("%s: %ld, handlers %d\n", what, value, handlers);
}

static void reads(const char *what, u64 flags)
{
	long parent = sys_getpid(), child, n;
	char byte;

	begin(flags);
	CHILD(child) {
		interrupt(parent);
		sys_write(data[1], "", 1);
	}
	n = sys_read(data[0], &byte, 1);
	result(what, n);
	wait_for(child);
	if (is_error(n))
		sys_read(data[0], &byte, 1);
}

static void waits(void)
{
	long parent = sys_getpid(), child, n;
	int status = 0, info[32] = { 0 };

	begin(SA_RESTART);
	CHILD(child)
		interrupt(parent);
	n = sys_wait4(child, &status, 0);
	result("wait4", n == child ? exited(status) : n);
	begin(SA_RESTART);
	CHILD(child)
		interrupt(parent);
	n = syscall6(NR_WAITID, P_PID, child, (u64)info, WEXITED, 0, 0);
	result("waitid", n ? n : info[6]);
}

static void futexes(void)
{
	volatile int *word = anonymous(PAGE_SIZE, MAP_SHARED);
	long parent = sys_getpid(), child, n;

	begin(SA_RESTART);
	CHILD(child) {
		interrupt(parent);
		*word = 1;
		syscall3(NR_FUTEX, (u64)word, FUTEX_WAKE, 1);
	}
	n = syscall6(NR_FUTEX, (u64)word, FUTEX_WAIT, 0, 0, 0, 0);
	print("futex: %s, handlers %d\n", n == 0 || n == -EAGAIN ? "woken" : result_name(n), handlers);
	wait_for(child);
}

static void read_in_a_handler(void)
{
	long parent = sys_getpid(), child, n;
	char byte;

	begin(SA_RESTART);
	on_signal(SIGUSR1, reading_handler, SA_RESTART, 0);
	on_signal(SIGUSR2, handler, SA_RESTART, 0);
	CHILD(child) {
		interrupt(parent);
		sys_kill(parent, SIGUSR2);
		handled(1);
		sys_write(inner[1], "", 1);
		nap();
		sys_write(data[1], "", 1);
	}
	n = sys_read(data[0], &byte, 1);
	print("read in a handler: %ld, then %ld, handlers %d\n", inner_result, n, handlers);
	wait_for(child);
}

static volatile int tids[THREADS], finished;

static int read_one(u64 unused)
{
	char byte;

	(void)unused;
	__sync_fetch_and_add(&finished, sys_read(data[0], &byte, 1) == 1);
	return 0;
}

static void threads(void)
{
	begin(SA_RESTART);
	for (int i = 0; i < THREADS; i++)
		must(start_thread(read_one, 0, &tids[i], 0, 0), "clone");
	nap();
	for (int i = 0; i < THREADS; i++)
		syscall3(NR_TGKILL, sys_getpid(), tids[i], SIGUSR1);
	handled(THREADS);
	nap();
	for (int i = 0; i < THREADS; i++)
		sys_write(data[1], "", 1);
	for (int i = 0; i < THREADS; i++)
		join_thread(&tids[i]);
	print("reads of %d threads: %d, handlers %d\n", THREADS, finished, handlers);
}

/* Each handler has its frame on that of the one before, so that the last one runs first. */
static void two_at_once(void)
{
	u64 both = 1UL << (SIGUSR1 - 1) | 1UL << (SIGUSR2 - 1);

	begin(0);
	on_signal(SIGUSR2, handler, 0, 0);
	nr_order = 0;
	must(sys_rt_sigprocmask(0, &both, NULL), "rt_sigprocmask");
	sys_kill(sys_getpid(), SIGUSR1);
	sys_kill(sys_getpid(), SIGUSR2);
	must(sys_rt_sigprocmask(1, &both, NULL), "rt_sigprocmask");
	print("two at once: %d%d\n", order[0] == SIGUSR2 ? 2 : 1, order[1] == SIGUSR2 ? 2 : 1);
}

static void pair(int first, int second)
{
	long parent = sys_getpid(), child, n;
	char byte;

	begin(first ? SA_RESTART : 0);
	on_signal(SIGUSR2, handler, second ? SA_RESTART : 0, 0);
	CHILD(child) {
		nap();
		sys_kill(parent, SIGUSR1);
		sys_kill(parent, SIGUSR2);
		handled(2);
		sys_write(data[1], "", 1);
	}
	n = sys_read(data[0], &byte, 1);
	result("read", n);
	wait_for(child);
}

int main(int argc, char **argv, char **envp)
{
	(void)envp;
	must(sys_pipe2(data, 0), "pipe2");
	must(sys_pipe2(inner, 0), "pipe2");
	must(sys_pipe2(told, 0), "pipe2");
	if (argc == 4 && !strcmp(argv[1], "pair")) {
		pair(atou64(argv[2]), atou64(argv[3]));
		return 0;
	}
	if (argc > 1)
		usage("restart [pair FIRST SECOND]");
	reads("read", SA_RESTART);
	reads("read without SA_RESTART", 0);
	waits();
	futexes();
	read_in_a_handler();
	threads();
	two_at_once();
	return 0;
}
