/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWTIME: clocks that are ahead for children, by calls, sleeps and timers. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/sched.h>
#include <sys/timerfd.h>
#include <sys/sysinfo.h>

static long put_text(const char *path, const char *text)
{
	int fd = SYS(open, path, O_WRONLY);
	long result = fd < 0 ? fd : SYS(write, fd, text, strlen(text));

	if (fd >= 0)
		SYS(close, fd);
	return result;
}

#define PUT(text) show("offsets \"" text "\"", put_text("/proc/self/timens_offsets", text))

static long seconds(int clock)
{
	struct timespec time;

	MUST(clock_gettime, clock, &time);
	return time.tv_sec;
}

/* As a difference in steps of 1000 seconds. */
static void ahead(const char *who, const long *before)
{
	static const int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE,
				      CLOCK_BOOTTIME };

	print("%s:", who);
	for (u32 i = 0; i < COUNT(clocks); i++)
		print(" %ld", (seconds(clocks[i]) - before[i] + 500) / 1000);
	print("\n");
}

int main(void)
{
	static const int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE,
				      CLOCK_BOOTTIME };
	long before[5], pid, own;
	struct clone_args args;
	struct sysinfo info;
	long uptime;

	for (int i = 0; i < 5; i++)
		before[i] = seconds(clocks[i]);
	MUST(sysinfo, &info);
	uptime = info.uptime;
	cat("/proc/self/timens_offsets");
	PUT("monotonic 0 0");
	own = MUST(open, "/proc/self/ns/time", O_RDONLY);
	SHOW(unshare, CLONE_NEWTIME);
	PUT("monotonic 5000");
	PUT("monotonic 5000 x");
	PUT("realtime 5000 0");
	PUT("monotonic 5000 1000000000");
	PUT("monotonic -1000000000 0");
	PUT("monotonic 9223372036 0");
	PUT("monotonic 5000 0\nboottime 9000 0\n");
	PUT("7 10000 0");
	cat("/proc/self/timens_offsets");
	ahead("not here", before);
	pid = MUST(fork);
	if (!pid) {
		struct timespec at = { 0, 20000000 };
		struct itimerspec timer = { { 0, 0 }, { 0, 0 } };
		u64 ticks;
		long fd;

		ahead("child", before);
		MUST(sysinfo, &info);
		print("uptime %ld\n", (info.uptime - uptime + 500) / 1000);
		PUT("monotonic 1 0");
		MUST(clock_gettime, CLOCK_MONOTONIC, &at);
		at.tv_sec -= 1;
		SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		MUST(clock_gettime, CLOCK_MONOTONIC, &at);
		at.tv_nsec += 20000000;
		if (at.tv_nsec >= 1000000000)
			at.tv_sec++, at.tv_nsec -= 1000000000;
		SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		fd = MUST(timerfd_create, CLOCK_BOOTTIME, 0);
		MUST(clock_gettime, CLOCK_BOOTTIME, &timer.it_value);
		timer.it_value.tv_sec += 100;
		SHOW(timerfd_settime, fd, TFD_TIMER_ABSTIME, &timer, NULL);
		MUST(timerfd_gettime, fd, &timer);
		print("left %ld\n", timer.it_value.tv_sec);
		MUST(clock_gettime, CLOCK_BOOTTIME, &timer.it_value);
		SHOW(timerfd_settime, fd, TFD_TIMER_ABSTIME, &timer, NULL);
		SHOW(read, fd, &ticks, 8);
		SHOW(setns, own, CLONE_NEWTIME);
		ahead("back", before);
		leave(0);
	}
	reap(pid);
	PUT("monotonic 1 0"); /* somebody is in it */
	pid = SYS(clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		ahead("with the same memory", before);
		leave(0);
	}
	reap(pid);
	memset(&args, 0, sizeof(args));
	args.flags = CLONE_NEWTIME;
	args.exit_signal = SIGCHLD;
	pid = SYS(clone3, &args, sizeof(args));
	if (!pid) {
		cat("/proc/self/timens_offsets");
		leave(0);
	}
	reap(pid);
	become(1000);
	SHOW(unshare, CLONE_NEWTIME);
	SHOW(clone3, &args, sizeof(args));
	return 0;
}
