/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restart [stop | pair FIRST SECOND]: system calls that a signal interrupts while they wait,
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
 *
 * With "stop": calls while which the process is stopped and continued, which runs no handler, and those that a
 * handler ends whatever its flags. Prints:
 *   pause: EINTR, handlers 1
 *   rt_sigsuspend over an ignored signal: EINTR, handlers 1
 *   nanosleep: 0, in time, handlers 0
 *   clock_nanosleep: 0, in time, handlers 0
 *   poll without data: 0, in time, handlers 0
 *   poll: 1, handlers 0
 *   ppoll over an ignored signal: 1, handlers 0
 *   select: 1, handlers 0
 *   futex with a timeout: ETIMEDOUT, in time, handlers 0
 *   read: 1, handlers 0
 *   nanosleep and a handler: EINTR, handlers 1
 *   what was left: ok
 *   poll and a handler: EINTR, handlers 1
 *   futex with a timeout and a handler: EINTR, handlers 1
 *   data before the signal: 1, handlers 1
 */
#include "thread.h"

#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define ETIMEDOUT_ 110
#define MS 1000000UL

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

/* ---- stop ---- */

static long parent;

/* In a child: stops the parent for a while. */
static void stops(void)
{
	nap();
	sys_kill(parent, SIGSTOP);
	nap();
	sys_kill(parent, SIGCONT);
	nap();
}

static u64 now(void)
{
	u64 time[2];

	syscall3(228, 1, (u64)time, 0); /* clock_gettime(CLOCK_MONOTONIC) */
	return time[0] * 1000 * MS + time[1];
}

static void in_time(const char *what, long value, u64 since, u64 at_least)
{
	const char *name = value == -ETIMEDOUT_ ? "ETIMEDOUT" : value ? result_name(value) : "0";

	print("%s: %s, %s, handlers %d\n", what, name, now() - since >= at_least ? "in time" : "EARLY", handlers);
}

#define DURING(action, call)                                                                     \
	do {                                                                                     \
		long child;                                                                      \
		begin(SA_RESTART);                                                               \
		CHILD(child) {                                                                   \
			action;                                                                  \
		}                                                                                \
		call;                                                                            \
		wait_for(child);                                                                 \
	} while (0)

static void stopped(void)
{
	u64 chld = 1UL << (SIGCHLD - 1), none = 0, long_time[2] = { 0, 150 * MS }, start, left[2];
	struct { int fd; short events, revents; } polled = { data[0], 1, 0 };
	int *word = anonymous(PAGE_SIZE, MAP_SHARED);
	u64 set;
	char byte;

	DURING((stops(), sys_kill(parent, SIGUSR1)), result("pause", syscall3(34, 0, 0, 0)));
	must(sys_rt_sigprocmask(SIG_BLOCK, &chld, NULL), "rt_sigprocmask");
	sys_kill(parent, SIGCHLD);
	DURING((nap(), sys_kill(parent, SIGUSR1)),
	       result("rt_sigsuspend over an ignored signal", syscall3(130, (u64)&none, 8, 0)));
	start = now();
	DURING(stops(), in_time("nanosleep", syscall3(NR_NANOSLEEP, (u64)long_time, 0, 0), start, 150 * MS));
	start = now();
	DURING(stops(), in_time("clock_nanosleep", syscall6(230, 1, 0, (u64)long_time, 0, 0, 0), start, 150 * MS));
	start = now();
	DURING(stops(), in_time("poll without data", syscall3(7, (u64)&polled, 1, 150), start, 150 * MS));
	DURING((stops(), sys_write(data[1], "", 1)), result("poll", syscall3(7, (u64)&polled, 1, 5000)));
	sys_read(data[0], &byte, 1);
	sys_kill(parent, SIGCHLD);
	DURING((nap(), sys_write(data[1], "", 1)),
	       result("ppoll over an ignored signal", syscall6(271, (u64)&polled, 1, 0, (u64)&none, 8, 0)));
	sys_read(data[0], &byte, 1);
	set = 1UL << data[0];
	DURING((stops(), sys_write(data[1], "", 1)), result("select", syscall6(23, data[0] + 1, (u64)&set, 0, 0, 0, 0)));
	sys_read(data[0], &byte, 1);
	start = now();
	DURING(stops(), in_time("futex with a timeout",
				syscall6(NR_FUTEX, (u64)word, FUTEX_WAIT, 0, (u64)long_time, 0, 0), start, 150 * MS));
	DURING((stops(), sys_write(data[1], "", 1)), result("read", sys_read(data[0], &byte, 1)));
	long_time[0] = 5;
	DURING((nap(), sys_kill(parent, SIGUSR1)),
	       result("nanosleep and a handler", syscall3(NR_NANOSLEEP, (u64)long_time, (u64)left, 0)));
	print("what was left: %s\n", left[0] >= 4 && left[0] <= 5 ? "ok" : "WRONG");
	DURING((nap(), sys_kill(parent, SIGUSR1)),
	       result("poll and a handler", syscall3(7, (u64)&polled, 1, 5000)));
	DURING((nap(), sys_kill(parent, SIGUSR1)),
	       result("futex with a timeout and a handler",
		      syscall6(NR_FUTEX, (u64)word, FUTEX_WAIT, 0, (u64)long_time, 0, 0)));
	begin(0);
	DURING((nap(), sys_write(data[1], "", 1), sys_kill(parent, SIGUSR1)), {
		long n;

		on_signal(SIGUSR1, handler, 0, 0);
		n = sys_read(data[0], &byte, 1);
		while (!handlers)
			nap();
		result("data before the signal", n);
	});
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
	if (argc == 2 && !strcmp(argv[1], "stop")) {
		parent = sys_getpid();
		stopped();
		return 0;
	}
	if (argc > 1)
		usage("restart [stop | pair FIRST SECOND]");
	reads("read", SA_RESTART);
	reads("read without SA_RESTART", 0);
	waits();
	futexes();
	read_in_a_handler();
	threads();
	two_at_once();
	return 0;
}
