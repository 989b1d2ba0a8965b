/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timers: signals of timers arrive and are counted, and what they do to calls that wait for
 * events. Prints:
 *   ITIMER_REAL: 5 signals
 *   ITIMER_VIRTUAL: 3 signals
 *   ITIMER_PROF: 3 signals
 *   timer_create: si_code -2, value 77
 *   a timer of CPU time: si_code -2, value 78
 *   to one thread: ok
 *   overruns: ok
 *   ignored, then not: signals come
 *   a handler interrupts a read of a timerfd: EINTR
 *   with SA_RESTART: 8
 *   a handler interrupts epoll_wait: EINTR
 *   with SA_RESTART: EINTR
 *   epoll_pwait: EINTR, handlers 1
 *   epoll_wait of a process that is stopped and continued: EINTR
 *   read of a timerfd of such a process: 8
 *   after execve: real 1, POSIX 0
 */
#include "thread.h"

#define SIGCONT 18
#define SIGSTOP 19
#define SIGVTALRM 26
#define SIGPROF 27
#define SIGRT 40
#define SA_RESTART 0x10000000UL
#define SI_TIMER_ (-2)
#define MS 1000000L
#define TGKILL 234

struct setting {
	long interval_s, interval, value_s, value;
};

struct sigevent {
	u64 value;
	int signo, notify, tid, padding[11];
};

struct timer_info { /* siginfo_t of a POSIX timer */
	int signo, error, code, padding, id, overrun;
	u64 value;
};

static volatile int signals, in_thread, thread_id;
static volatile struct timer_info last;

static void count(int signo)
{
	(void)signo;
	__sync_fetch_and_add(&signals, 1);
}

static void note(int signo, struct timer_info *info)
{
	last = *info;
	in_thread = syscall3(186, 0, 0, 0) == thread_id;
	count(signo);
}

static void nap(long ns)
{
	long time[2] = { 0, ns };

	syscall3(35, (u64)time, 0, 0);
}

static void interval_timers(void)
{
	static const struct { const char *name; int which, signo; } kinds[] = {
		{ "ITIMER_VIRTUAL", 1, SIGVTALRM }, { "ITIMER_PROF", 2, SIGPROF },
	};
	struct setting setting = { 0, 2000, 0, 1000 }; /* microseconds */
	u64 none = 0;

	signals = 0;
	on_signal(SIGALRM, count, 0, 0);
	must(syscall3(38, 0, (u64)&setting, 0), "setitimer");
	while (signals < 5)
		sys_pause();
	setting.value = 0;
	must(syscall3(38, 0, (u64)&setting, 0), "setitimer");
	print("ITIMER_REAL: %d signals\n", 5);
	for (int i = 0; i < 2; i++) {
		setting.value = 1000;
		signals = 0;
		on_signal(kinds[i].signo, count, 0, 0);
		must(syscall3(38, kinds[i].which, (u64)&setting, 0), "setitimer");
		while (signals < 3)
			none++;
		must(syscall3(38, kinds[i].which, 0, 0), "setitimer");
		print("%s: %d signals\n", kinds[i].name, 3);
	}
}

static int timer(int clock, int signo, int notify, int tid, u64 value)
{
	struct sigevent event = { .value = value, .signo = signo, .notify = notify, .tid = tid };
	int id = -1;

	must(syscall3(222, clock, (u64)&event, (u64)&id), "timer_create");
	return id;
}

static void start(int id, long value, long interval)
{
	struct setting setting = { 0, interval, 0, value };

	must(syscall6(223, id, 0, (u64)&setting, 0, 0, 0), "timer_settime");
}

static int other_thread(u64 argument)
{
	(void)argument;
	thread_id = syscall3(186, 0, 0, 0);
	while (!signals)
		nap(MS);
	return 0;
}

static void posix_timers(void)
{
	u64 set = SIGNAL_BIT(SIGRT);
	struct timer_info info = { 0 };
	volatile int tid;
	int id;

	on_signal(SIGRT, note, SA_SIGINFO, 0);
	signals = 0;
	start(id = timer(1, SIGRT, 0, 0, 77), MS, 0);
	while (!signals)
		sys_pause();
	print("timer_create: si_code %d, value %lu\n", last.code, last.value);
	must(syscall3(226, id, 0, 0), "timer_delete");
	signals = 0;
	start(id = timer(2, SIGRT, 0, 0, 78), MS, 0);
	while (!signals)
		;
	print("a timer of CPU time: si_code %d, value %lu\n", last.code, last.value);
	signals = 0;
	must(start_thread(other_thread, 0, &tid, 0, 0), "clone");
	while (!thread_id)
		nap(MS);
	start(timer(1, SIGRT, 4, thread_id, 79), MS, 0);
	join_thread(&tid);
	print("to one thread: %s\n", in_thread && last.value == 79 ? "ok" : "WRONG");
	must(sys_rt_sigprocmask(SIG_BLOCK, &set, NULL), "rt_sigprocmask");
	start(id = timer(1, SIGRT, 0, 0, 80), MS, MS);
	nap(30 * MS);
	must(syscall6(128, (u64)&set, (u64)&info, 0, 8, 0, 0), "rt_sigtimedwait");
	print("overruns: %s\n", info.overrun >= 25 && syscall3(225, id, 0, 0) == info.overrun ? "ok" : "WRONG");
	must(sys_rt_sigprocmask(SIG_UNBLOCK, &set, NULL), "rt_sigprocmask");
	on_signal(SIGRT, SIG_IGN, 0, 0);
	nap(5 * MS);
	signals = 0;
	on_signal(SIGRT, note, SA_SIGINFO, 0);
	while (signals < 2)
		nap(MS);
	print("ignored, then not: signals come\n");
	must(syscall3(226, id, 0, 0), "timer_delete");
}

static void result(const char *what, long value)
{
	if (is_error(value))
		print("%s: %s\n", what, result_name(value));
	else
		print("%s: %ld\n", what, value);
}

/* A child that sends the signals after a while. */
static long soon(int first, int second)
{
	long parent = sys_getpid(), child = must(sys_fork(), "fork");

	if (child)
		return child;
	nap(20 * MS);
	sys_kill(parent, first);
	if (second) {
		nap(20 * MS);
		sys_kill(parent, second);
	}
	sys_exit_group(0);
}

static void interrupted(void)
{
	int fd = must(syscall3(283, 1, 0, 0), "timerfd_create"), poll = must(syscall3(291, 0, 0, 0), "epoll_create1");
	struct setting late = { 0, 0, 0, 80 * MS }, now = { 0, 0, 0, 1 };
	u64 ticks, mask = SIGNAL_BIT(SIGUSR1), events[8];
	long child;

	for (u64 flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		on_signal(SIGUSR1, count, flags, 0);
		must(syscall6(286, fd, 0, (u64)&late, 0, 0, 0), "timerfd_settime");
		child = soon(SIGUSR1, 0);
		result(flags ? "with SA_RESTART" : "a handler interrupts a read of a timerfd", sys_read(fd, &ticks, 8));
		wait_for(child);
	}
	for (u64 flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		on_signal(SIGUSR1, count, flags, 0);
		child = soon(SIGUSR1, 0);
		result(flags ? "with SA_RESTART" : "a handler interrupts epoll_wait",
		       syscall6(232, poll, (u64)events, 1, -1, 0, 0));
		wait_for(child);
	}
	must(sys_rt_sigprocmask(SIG_BLOCK, &mask, NULL), "rt_sigprocmask");
	signals = 0;
	sys_kill(sys_getpid(), SIGUSR1);
	mask = 0;
	child = syscall6(281, poll, (u64)events, 1, -1, (u64)&mask, 8);
	print("epoll_pwait: %s, handlers %d\n", result_name(child), signals);
	child = soon(SIGSTOP, SIGCONT);
	result("epoll_wait of a process that is stopped and continued", syscall6(232, poll, (u64)events, 1, -1, 0, 0));
	wait_for(child);
	must(syscall6(286, fd, 0, (u64)&late, 0, 0, 0), "timerfd_settime");
	child = soon(SIGSTOP, SIGCONT);
	result("read of a timerfd of such a process", sys_read(fd, &ticks, 8));
	wait_for(child);
	must(syscall6(286, fd, 0, (u64)&now, 0, 0, 0), "timerfd_settime");
}

int main(int argc, char **argv, char **envp)
{
	struct setting setting = { 0, 0, 100, 0 };
	char *again[] = { argv[0], "exec", NULL };

	if (argc == 2 && !strcmp(argv[1], "exec")) {
		must(syscall3(36, 0, (u64)&setting, 0), "getitimer");
		print("after execve: real %d, POSIX %d\n", setting.value_s > 0, !is_error(syscall3(225, 0, 0, 0)));
		return 0;
	}
	if (argc > 1)
		usage("timers");
	interval_timers();
	posix_timers();
	interrupted();
	must(syscall3(38, 0, (u64)&setting, 0), "setitimer");
	return must(sys_execve("/proc/self/exe", again, envp), "execve");
}
