/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* Threads that wait for a userfaultfd: their own accesses, the kernel's for them, signals, and what lets them go on. */
#include "uffd.h"

static int fd;
static char *p, source[PAGE] __attribute__((aligned(4096)));
static volatile int started, ended, pipe_ends[2], got;

static int reader(u64 page)
{
	started = 1;
	got = read_byte(p + page * PAGE);
	ended = 1;
	return 0;
}

static int writer(u64 page)
{
	started = 1;
	got = write_byte(p + page * PAGE + 7, 'w');
	ended = 1;
	return 0;
}

static int from_pipe(u64 page)
{
	started = 1;
	got = SYS(read, pipe_ends[0], p + page * PAGE + 4, 5);
	ended = 1;
	return 0;
}

static int into_pipe(u64 page)
{
	started = 1;
	got = SYS(write, pipe_ends[1], p + page * PAGE + 4090, 10);
	ended = 1;
	return 0;
}

static void on_signal(int signo)
{
	(void)signo;
	MUST(write, 1, "handler\n", 8);
}

static volatile int tid;

static void begin(int (*function)(u64), u64 page)
{
	started = ended = got = 0;
	thread(function, page, &tid);
	while (!started)
		SYS(sched_yield);
}

static void end(const char *what)
{
	join(&tid);
	print("%s: ended %d got %d\n", what, ended, got);
}

int main(void)
{
	pages_begin();
	int ends[2];
	MUST(pipe, ends);
	pipe_ends[0] = ends[0], pipe_ends[1] = ends[1];
	memset(source, 's', PAGE);
	fd = uffd_open(F_EXACT);
	p = anonymous(32 * PAGE, MAP_PRIVATE);
	MUST(madvise, p, 32 * PAGE, MADV_NOHUGEPAGE);
	SAY(uffd_register(fd, p, 32, MISSING | WP));
	begin(reader, 0);
	uffd_next(fd, p);
	SAY(ended);
	uffd_copy(fd, p, source, PAGE, 0);
	end("read");
	begin(writer, 1);
	uffd_next(fd, p);
	uffd_three("zero", fd, ZEROPAGE, p + PAGE, PAGE, 0);
	end("write");
	begin(reader, 2);
	uffd_next(fd, p);
	uffd_copy(fd, p + 2 * PAGE, source, PAGE, DONTWAKE);
	sleep_ms(20);
	SAY(ended);
	u64 range[2] = { (u64)p, 3 * PAGE };
	SHOW(ioctl, fd, WAKE, range);
	end("woken");
	begin(writer, 3);
	uffd_next(fd, p);
	range[0] = (u64)p + 3 * PAGE, range[1] = PAGE;
	SHOW(ioctl, fd, WAKE, range);
	uffd_next(fd, p); /* nothing is there, so it waits again */
	uffd_copy(fd, p + 3 * PAGE, source, PAGE, COPY_WP);
	uffd_next(fd, p);
	SAY(uffd_protect(fd, p + 3 * PAGE, PAGE, PROTECT_DONTWAKE));
	SAY(ended);
	SAY(uffd_protect(fd, p + 3 * PAGE, PAGE, 0));
	end("protected");

	MUST(write, ends[1], "hello", 5);
	begin(from_pipe, 4);
	uffd_next(fd, p);
	uffd_copy(fd, p + 4 * PAGE, source, PAGE, 0);
	end("read(2)");
	print("%c%c%c\n", p[4 * PAGE + 3], p[4 * PAGE + 4], p[4 * PAGE + 9]);
	begin(into_pipe, 5);
	uffd_next(fd, p);
	uffd_copy(fd, p + 5 * PAGE, source, PAGE, 0);
	uffd_next(fd, p);
	uffd_copy(fd, p + 6 * PAGE, source, PAGE, 0);
	end("write(2)");
	MUST(read, ends[0], source + 100, 10);

	handle(SIGUSR1, on_signal, 0);
	begin(reader, 7);
	uffd_next(fd, p);
	MUST(tgkill, SYS(getpid), tid, SIGUSR1);
	uffd_next(fd, p);
	uffd_copy(fd, p + 7 * PAGE, source, PAGE, 0);
	end("with a signal");

	begin(reader, 8);
	uffd_next(fd, p);
	range[0] = (u64)p + 8 * PAGE, range[1] = PAGE;
	SHOW(ioctl, fd, UNREGISTER, range);
	end("unregistered");
	begin(reader, 9);
	uffd_next(fd, p);
	MUST(munmap, p + 31 * PAGE, PAGE);
	uffd_three("poison", fd, POISON, p + 9 * PAGE, PAGE, 0);
	end("poisoned");

	long child = MUST(fork);
	if (!child) {
		fd = uffd_open(0);
		SAY(uffd_register(fd, p, 31, MISSING));
		begin(into_pipe, 20);
		uffd_next(fd, p);
		leave(3);
	}
	reap(child);
	child = MUST(fork);
	if (!child) {
		fd = uffd_open(0);
		SAY(uffd_register(fd, p, 31, MISSING));
		MUST(alarm, 1);
		p[20 * PAGE] = 1;
		leave(3);
	}
	reap(child);
	begin(reader, 10);
	uffd_next(fd, p);
	MUST(close, fd);
	end("closed");
	fd = MUST(userfaultfd, O_NONBLOCK | 1);
	struct uffd_api api = { .api = 0xAA };
	MUST(ioctl, fd, API, &api);
	SAY(uffd_register(fd, p, 31, MISSING));
	SHOW(write, ends[1], p + 22 * PAGE, 1);
	SHOW(madvise, p + 22 * PAGE, PAGE, MADV_POPULATE_READ);
	begin(reader, 22);
	uffd_next(fd, p);
	uffd_copy(fd, p + 22 * PAGE, source, PAGE, 0);
	end("user mode only");
	return 0;
}
