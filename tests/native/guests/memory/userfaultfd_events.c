/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* UFFD_FEATURE_EVENT_*: a monitor hears of fork, mremap, discarding and munmap, and who makes the change waits. */
#include "uffd.h"

#define EVENTS (2 | 4 | 8 | 64)

static int fd;
static char *p, *base, *to, source[PAGE] __attribute__((aligned(4096)));
static volatile int started, ended, tid;
static volatile long child;

static int work(u64 what)
{
	long r = 0;

	started = 1;
	switch (what) {
	case 0:
		r = SYS(munmap, p + 2 * PAGE, 2 * PAGE);
		break;
	case 1:
		r = SYS(madvise, p, 2 * PAGE, MADV_DONTNEED);
		break;
	case 2:
		r = SYS(madvise, p, PAGE, MADV_FREE);
		break;
	case 3:
		r = SYS(mmap, p + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 4:
		r = SYS(mremap, p + 5 * PAGE, 3 * PAGE, 2 * PAGE, MREMAP_MAYMOVE);
		break;
	case 5:
		r = SYS(mremap, p + 8 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		break;
	case 6:
		r = SYS(mremap, p + 10 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to + 4 * PAGE);
		break;
	case 7:
		r = SYS(munmap, p - PAGE, PAGE);
		break;
	}
	if (failed(r))
		print("%d failed: %s\n", (int)what, errno_name(-r));
	ended = 1;
	return 0;
}

static int forks(u64 unused)
{
	(void)unused;
	started = 1;
	child = SYS(fork);
	if (!child)
		leave(7 + read_byte(p + 14 * PAGE));
	return 0;
}

static void next(void)
{
	struct uffd_message m;
	struct pollfd poller = { fd, POLLIN, 0 };

	if (SYS(poll, &poller, 1, 300) != 1) {
		print("no event\n");
		return;
	}
	sleep_ms(20);
	SAY(ended);
	uffd_copy(fd, p + 15 * PAGE, source, PAGE, 0);
	MUST(read, fd, &m, sizeof(m));
	print("event %x", m.event);
	u64 words[3] = { m.flags, m.address, m.ptid };
	for (int i = 0; i < 3; i++)
		if (words[i] >= (u64)to && words[i] < (u64)to + 32 * PAGE)
			print(" to+%ld", (words[i] - (u64)to) / PAGE);
		else if (words[i] >= (u64)base && words[i] < (u64)base + 32 * PAGE)
			print(" p+%ld", (words[i] - (u64)p) / PAGE);
		else
			print(" %lx", words[i]);
	print("\n");
}

static void begin(int what)
{
	print("-- %d\n", what);
	started = ended = 0;
	thread(work, what, &tid);
	while (!started)
		SYS(sched_yield);
}

int main(void)
{
	pages_begin();
	base = anonymous(32 * PAGE, MAP_PRIVATE);
	MUST(madvise, base, 32 * PAGE, MADV_NOHUGEPAGE);
	p = base + 2 * PAGE;
	to = anonymous(32 * PAGE, MAP_PRIVATE);
	MUST(munmap, to, 32 * PAGE);
	fd = uffd_open(EVENTS);
	for (int i = 0; i < 12; i++)
		write_byte(p + i * PAGE, 'a' + i);
	SAY(uffd_register(fd, p, 20, MISSING | WP));
	for (int what = 0; what < 8; what++) {
		begin(what);
		next();
		if (what == 5)
			next();
		join(&tid);
		struct pollfd poller = { fd, POLLIN, 0 };
		if (SYS(poll, &poller, 1, 0) == 1)
			print("more\n"), next();
	}
	SAY(uffd_protect(fd, to, PAGE, PROTECT));
	SAY(uffd_protect(fd, to + 4 * PAGE, PAGE, PROTECT));
	show_pages("moved", to, 6);

	/* fork: whoever reads of it gets the child's userfaultfd */
	started = ended = 0;
	thread(forks, 0, &tid);
	while (!started)
		SYS(sched_yield);
	struct uffd_message m;
	struct pollfd poller = { fd, POLLIN, 0 };
	SAY(SYS(poll, &poller, 1, 5000));
	SAY(child);
	SHOW(read, fd, &m, sizeof(m));
	print("event %x fd %d\n", m.event, (int)m.flags);
	join(&tid);
	poller.fd = m.flags;
	SAY(SYS(poll, &poller, 1, 5000));
	struct uffd_message in_child;
	SHOW(read, poller.fd, &in_child, sizeof(in_child));
	print("event %x flags %lx p+%ld\n", in_child.event, in_child.flags, (in_child.address - (u64)p) / PAGE);
	uffd_copy(poller.fd, p + 14 * PAGE, source, PAGE, 0);
	reap(child);
	uffd_copy(poller.fd, p + 14 * PAGE, source, PAGE, 0);
	MUST(close, poller.fd);
	return 0;
}
