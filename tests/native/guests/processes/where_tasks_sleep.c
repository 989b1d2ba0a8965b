/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* /proc/PID/wchan of children that wait in calls. */
#include "native.h"

static int ends[2], word;

static void in_pipe(void) { char c; SYS(read, ends[0], &c, 1); }
static void in_futex(void) { SYS(futex, &word, FUTEX_WAIT, 0, 0); }
static void in_poll(void) { SYS(poll, 0, 0, -1); }
static void in_sleep(void) { struct timespec t = { 1000, 0 }; SYS(nanosleep, &t, 0); }
static void in_wait(void)
{
	MUST(prctl, 1, SIGKILL);
	if (!MUST(fork)) {
		MUST(prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL);
		for (;;)
			SYS(pause);
	}
	SYS(wait4, -1, 0, 0, 0);
}
static void in_stop(void) { SYS(kill, SYS(getpid), SIGSTOP); }
static void in_event(void) { u64 n; SYS(read, MUST(eventfd2, 0, 0), &n, 8); }

/* "/proc/PID/wchan". */
static char *path_of(long pid)
{
	static char path[32];
	char digits[16], *at = digits + sizeof(digits), *end = path + 6;

	memcpy(path, "/proc/", 6);
	for (; pid; pid /= 10)
		*--at = '0' + pid % 10;
	while (at < digits + sizeof(digits))
		*end++ = *at++;
	memcpy(end, "/wchan", 7);
	return path;
}

static void look(const char *name, void (*wait)(void))
{
	char text[64];
	long child = MUST(fork), fd, n;

	if (!child) {
		MUST(prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL);
		wait();
		leave(0);
	}
	sleep_ms(50);
	fd = MUST(open, path_of(child), O_RDONLY);
	n = MUST(read, fd, text, sizeof(text) - 1);
	text[n] = 0;
	print("%s: %s\n", name, text);
	MUST(close, fd);
	MUST(kill, child, SIGKILL);
	MUST(wait4, child, 0, 0, 0);
}

int main(void)
{
	MUST(pipe2, ends, 0);
	look("pipe", in_pipe);
	look("futex", in_futex);
	look("poll", in_poll);
	look("sleep", in_sleep);
	look("wait", in_wait);
	look("stop", in_stop);
	look("eventfd", in_event);
	return 0;
}
