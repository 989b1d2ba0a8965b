/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hoard KIND: makes as many objects of one kind as the kernel lets it, first in
 * one process and then in as many children as there can be. It touches little
 * memory: what it fills is the kernel's.
 *
 * KIND is one of the names in `kinds` below. Prints "KIND: ERROR" with the
 * error that ended it (or "KIND: done" for a kind that has an end of its own),
 * exit status 0.
 */
#include "guest.h"

#define CALL(number, a, b, c) syscall3(number, (u64)(a), (u64)(b), (u64)(c))
#define SIZE (2UL << 20)

static u8 *memory;
static char *program;

/* A name with the number in it; the result is in the same place each time. */
static const char *name_of(const char *directory, u64 number)
{
	static char name[64];
	size_t n = strlen(directory);

	memcpy(name, directory, n);
	for (int i = 0; i < 8; i++)
		name[n++] = "0123456789abcdef"[number >> 4 * i & 15];
	name[n] = 0;
	return name;
}

/* Memory that is not promised. */
static u8 *reserve_memory(u64 size, int prot, int flags)
{
	long address = sys_mmap(0, size, prot, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (is_error(address))
		die("mmap", -address);
	return (u8 *)address;
}

static void more_descriptors(void)
{
	u64 limit[2] = { 16384, 16384 };

	CALL(160, 7, limit, 0);
}

/* Children that wait for ever, each after having done something; the error that ends it. */
static long forks(long (*each)(u64))
{
	for (u64 k = 0;; k++) {
		long pid = sys_fork();

		if (pid < 0)
			return pid;
		if (!pid) {
			if (each)
				each(k);
			for (;;)
				sys_pause();
		}
		for (int i = 0; i < 3 && each; i++)
			sys_sched_yield();
	}
}

static long vmas(void)
{
	for (u64 k = 0; k < 65000; k++)
		if (is_error(sys_mmap(0x100000000 + k * 8192, 4096, PROT_READ,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)))
			break;
	return forks(NULL);
}

static long splits(void)
{
	long result = 0;
	u8 *at = reserve_memory(1UL << 30, PROT_READ, MAP_PRIVATE);

	for (u64 k = 0; !result; k++)
		result = sys_mprotect((u64)at + k * 8192, 4096, PROT_READ | PROT_WRITE);
	return result;
}

static long unnamed(void)
{
	long result = 0;

	for (u64 k = 0; !is_error(result) && k < 60000; k++)
		result = sys_mmap(0x100000000 + k * 8192, 4096, PROT_READ,
				  MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	return is_error(result) ? result : forks(NULL);
}

static long descriptors(void)
{
	more_descriptors();
	while (CALL(32, 0, 0, 0) >= 0)
		;
	return forks(NULL);
}

static long files(void)
{
	long fd;

	more_descriptors();
	do {
		fd = sys_open("/proc/self/maps", O_RDONLY, 0);
	} while (fd >= 0);
	return fd;
}

static long memfds(void)
{
	long fd;

	more_descriptors();
	do {
		fd = CALL(319, "hoard", 0, 0);
	} while (fd >= 0 && sys_write(fd, "x", 1) == 1);
	return fd < 0 ? fd : -ENOMEM;
}

static long tasks(void)
{
	return forks(NULL);
}

/* A child becomes this program with 2 MiB of arguments, and unmaps them. */
static long with_arguments(u64 number)
{
	static char text[131000];
	char *argv[18] = { program, "wait" };

	memset(text, 'a' + number % 26, sizeof(text) - 1);
	for (int i = 2; i < 17; i++)
		argv[i] = text;
	return sys_execve("/proc/self/exe", argv, argv + 17);
}

static long arguments(void)
{
	return forks(with_arguments);
}

static long wait_for_ever(void)
{
	sys_munmap(0x7ffffff00000 - (8UL << 20), (8UL << 20) + 0xff000);
	for (;;)
		sys_pause();
	return 0;
}

static long set_groups(u64 number)
{
	*(u32 *)memory = number;
	return CALL(116, 65536, memory, 0);
}

static long groups(void)
{
	return forks(set_groups);
}

static long names(void)
{
	static char target[4096];
	long result;

	memset(target, 't', sizeof(target) - 1);
	CALL(83, "/many", 0777, 0);
	syscall6(165, (u64)"t", (u64)"/many", (u64)"tmpfs", 0, (u64)"nr_inodes=0", 0);
	for (u64 k = 0;; k++) {
		for (int i = 0; i < 8; i++)
			target[i] = 'a' + (k >> 4 * i & 15);
		result = CALL(88, target, name_of("/many/", k), 0);
		if (result < 0)
			return result;
	}
}

static long inodes(void)
{
	long fd;

	CALL(83, "/many", 0777, 0);
	syscall6(165, (u64)"t", (u64)"/many", (u64)"tmpfs", 0, (u64)"nr_inodes=0", 0);
	for (u64 k = 0;; k++) {
		fd = sys_open(name_of("/many/", k), O_RDWR | O_CREAT, 0600);
		if (fd < 0)
			return fd;
		sys_close(fd);
	}
}

/* Pages far apart: each needs a node of the page cache. */
static long pages(void)
{
	long fd = CALL(319, "hoard", 0, 0), result;

	for (u64 k = 0;; k++) {
		result = syscall6(18, fd, (u64)"x", 1, k << 21, 0, 0);
		if (result < 0)
			return result;
	}
}

static long pipes(void)
{
	int fds[2];
	long result;

	more_descriptors();
	while (!(result = sys_pipe2(fds, 04000))) {
		sys_fcntl(fds[1], 1031, 1 << 20);
		while (sys_write(fds[1], memory, 1 << 20) > 0)
			;
	}
	return result;
}

/* What a pipe gave last must not stay with it. */
static long read_pipes(void)
{
	int fds[2];

	for (int k = 0; k < 100 && !sys_pipe2(fds, 04000); k++) {
		sys_fcntl(fds[1], 1031, 1 << 20);
		sys_write(fds[1], memory, 1 << 20);
		sys_read(fds[0], memory, 1 << 20);
	}
	return 0;
}

static int full[2];

static long write_much(u64 number)
{
	(void)number;
	return sys_write(full[1], memory, SIZE);
}

static long writers(void)
{
	sys_pipe2(full, 0);
	return forks(write_much);
}

static long poll_many(u64 number)
{
	struct { int fd; short events, revents; } *set = (void *)memory;

	(void)number;
	more_descriptors();
	for (int i = 0; i < 16384; i++) {
		set[i].fd = full[0];
		set[i].events = 1;
	}
	return CALL(7, set, 16384, -1);
}

static long polls(void)
{
	sys_pipe2(full, 0);
	return forks(poll_many);
}

static long queue_many(u64 number)
{
	u64 mask = ~0UL;

	(void)number;
	sys_rt_sigprocmask(0, &mask, NULL);
	for (int k = 0; k < 256; k++)
		sys_kill(sys_getpid(), 34 + k % 30);
	return 0;
}

static long signals(void)
{
	return forks(queue_many);
}

static long locks(void)
{
	struct { short type, whence; int pad; u64 start, length; int pid; } lock = { 1, 0, 0, 0, 1, 0 };
	long fd, result;

	for (u64 k = 0;; k++) {
		fd = sys_open(name_of("/tmp/", k), O_RDWR | O_CREAT, 0600);
		if (fd < 0)
			return fd;
		for (lock.start = 0; lock.start < 200; lock.start += 2) {
			result = sys_fcntl(fd, 6, (u64)&lock);
			if (result < 0)
				return result;
		}
	}
}

/* Texts that open files keep for their reader. */
static long texts(void)
{
	long fd;
	char c;

	more_descriptors();
	for (u64 k = 0; k < 1000; k++)
		sys_mmap(0x100000000 + k * 8192, 4096, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	do {
		fd = sys_open("/proc/self/maps", O_RDONLY, 0);
	} while (fd >= 0 && sys_read(fd, &c, 1) == 1);
	return fd < 0 ? fd : -ENOMEM;
}

static long listings(void)
{
	long fd;

	more_descriptors();
	CALL(83, "/tmp/d", 0777, 0);
	for (u64 k = 0; k < 300; k++)
		sys_close(sys_open(name_of("/tmp/d/", k), O_RDWR | O_CREAT, 0600));
	do {
		fd = sys_open("/tmp/d", O_RDONLY, 0);
	} while (fd >= 0 && CALL(217, fd, memory, 64) > 0);
	return fd < 0 ? fd : -ENOMEM;
}

static long regions(void)
{
	for (u64 k = 0;; k++) {
		long fd = sys_open(name_of("/sys/fs/mshare/", k), O_RDWR | O_CREAT, 0600);

		if (fd < 0)
			return fd;
		sys_ftruncate(fd, 1UL << 30);
		sys_close(fd);
	}
}

/* Messages without a byte, in queues that take any number of them. */
static long messages(void)
{
	u64 status[16];
	struct { long type; char text[8]; } message = { 1, "" };
	long result, id;

	for (;;) {
		id = CALL(68, 0, 0600, 0);
		if (id < 0)
			return id;
		CALL(71, id, 2, status);
		status[11] = 1 << 20;
		CALL(71, id, 1, status);
		for (int k = 0; k < 4000; k++) {
			result = syscall6(69, id, (u64)&message, 0, 04000, 0, 0);
			if (result < 0)
				return result;
		}
	}
}

static long semaphores(void)
{
	long id;

	do {
		id = CALL(64, 0, 32000, 0600);
	} while (id >= 0);
	return id;
}

/* Sockets full of what nobody reads. */
static long sockets(void)
{
	int fds[2];
	long result;

	more_descriptors();
	while (!(result = syscall6(53, 1, 1 | 04000, 0, (u64)fds, 0, 0)))
		while (sys_write(fds[0], memory, 1 << 20) > 0)
			;
	return result;
}

/* A send of more than the host should hold. */
static long sendings(void)
{
	int fds[2];
	u8 *much = reserve_memory(1UL << 30, PROT_READ, MAP_PRIVATE);

	syscall6(53, 1, 1 | 04000, 0, (u64)fds, 0, 0);
	return syscall6(44, fds[0], (u64)much, 1UL << 30, 0, 0, 0) > 0 ? 0 : -1;
}

/* Sets of watched files, each of which watches many. */
static long watches(void)
{
	struct __attribute__((packed)) { u32 events; u64 data; } event = { 1, 0 };
	long set, result;

	more_descriptors();
	sys_pipe2(full, 0);
	for (int k = 0; k < 100; k++)
		CALL(32, full[0], 0, 0);
	for (;;) {
		set = CALL(291, 0, 0, 0);
		if (set < 0)
			return set;
		for (int fd = full[0]; fd < 100; fd++) {
			result = syscall6(233, set, 1, fd, (u64)&event, 0, 0);
			if (result == -ENOMEM || result == -ENOSPC)
				return result;
		}
	}
}

/* Timers that are set anew before they run. */
static long timers(void)
{
	for (int k = 0; k < 30000; k++)
		CALL(37, 1000000, 0, 0);
	return 0;
}

static long processes(void)
{
	for (int k = 0; k < 500; k++) {
		long pid = sys_fork();

		if (pid < 0)
			return pid;
		if (!pid)
			sys_exit_group(0);
		sys_wait4(pid, NULL, 0);
	}
	return 0;
}

static long posix_timers(void)
{
	u64 limit[2] = { ~0UL, ~0UL };
	int id;
	long result;

	CALL(160, 11, limit, 0);
	do {
		result = CALL(222, 0, 0, &id);
	} while (!result);
	return result;
}

/* Code that is entered at each of its bytes: as many blocks. */
static long blocks(void)
{
	u8 *at = reserve_memory(65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);

	memset(at, 0x90, 20000);
	for (int k = 15; k < 20000; k += 16)
		at[k] = 0xc3;
	for (int k = 0; k < 20000; k++)
		((void (*)(void))(at + k))();
	return 0;
}

/* Code that changes before each of its runs. */
static long code(void)
{
	u8 *at = reserve_memory(4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);

	for (int k = 0; k < 60000; k++) {
		at[0] = k & 1 ? 0xc3 : 0x90;
		at[1] = 0xc3;
		((void (*)(void))at)();
	}
	return 0;
}

#define KINDS(X) \
	X(vmas) X(splits) X(unnamed) X(descriptors) X(files) X(memfds) X(tasks) X(arguments) X(groups) X(names) \
	X(inodes) X(pages) X(pipes) X(read_pipes) X(writers) X(polls) X(signals) X(locks) X(texts) \
	X(listings) X(regions) X(messages) X(semaphores) X(sockets) X(sendings) X(watches) X(timers) X(processes) \
	X(posix_timers) X(blocks) X(code)

#define ROW(kind) { #kind, kind },
static const struct { const char *name; long (*hoard)(void); } kinds[] = { KINDS(ROW) { "wait", wait_for_ever } };

int main(int argc, char **argv, char **envp)
{
	(void)envp;
	program = argv[0];
	for (size_t i = 0; argc >= 2 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		long result;

		if (strcmp(argv[1], kinds[i].name))
			continue;
		if (strcmp(argv[1], "wait"))
			memory = reserve_memory(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		result = kinds[i].hoard();
		print("%s: %s\n", argv[1], is_error(result) ? result_name(result) : "done");
		return 0;
	}
	usage("hoard KIND");
}
