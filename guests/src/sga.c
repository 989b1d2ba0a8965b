/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sga SIZE CLIENTS PLAIN READS SEED: a database's shared global area, the problem
 * that mshare was made for. SIZE bytes of shared memory with every page mapped,
 * and many processes that read from it at random.
 *
 * The first process, the donor, makes a memory file of SIZE bytes and maps it with
 * MAP_SHARED | MAP_POPULATE at 2 TiB, which writes every leaf entry and touches no
 * data. It writes words at places that SEED determines: marks, each in a page of
 * its own. Then it starts
 *   PLAIN processes that map the same file in the same way, with tables of their
 *     own, before mshare(2) makes a region of the donor's mapping, and
 *   CLIENTS processes that attach to the region by its name.
 * Each is a program of its own, by fork(2) and execve(2), which reads READS marks
 * and READS other words, where zeros must be, at places of its own, and tells the
 * donor the sum. Then it waits, so that all live at the same time.
 *
 * The donor then calls pause(2). One SIGUSR1 ends everything: the clients detach,
 * the region goes with the last mshare_unlink(2). Prints
 *   sga: N pages populated
 *   sga: N marks written
 *   sga: PLAIN processes have mapped it plainly       (unless PLAIN is 0)
 *   sga: mshare() has made a region of it
 *   sga: CLIENTS processes have attached
 *   sga: N processes have read N words, checksum X: ok
 *   sga: all have ended: ok
 * or WRONG in the last two lines, with exit status 3.
 */
#include "mshare.h"

#define __NR_memfd_create 319
#define MAP_POPULATE 0x8000
#define NAME "sga"
#define MARKS 1024
#define MAX_PROCESSES 32000

/* What a process tells the donor. */
struct report {
	u64 number;
	u64 sum;
	u64 wrong; /* words that were not what they must be */
};

static u64 nr_pages, nr_reads, seed;
static int reports[2], gate[2]; /* pipes: the gate is open when its writing end is closed */
static volatile int ending;
static u64 started;
static int exit_status;

/* ---- places and words: all from the seed ---- */

/* splitmix64 */
static u64 mix(u64 value)
{
	value += 0x9e3779b97f4a7c15UL;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9UL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebUL;
	return value ^ (value >> 31);
}

static u64 nr_marks(void)
{
	return nr_pages < MARKS ? nr_pages : MARKS;
}

/* The first word of this page is mark k; the pages of all marks differ. */
static u64 mark_page(u64 k)
{
	u64 each = nr_pages / nr_marks();

	return k * each + mix(seed ^ k) % each;
}

static u64 mark_value(u64 k)
{
	return mix(seed + MARKS + k) | 1;
}

static volatile u64 *word(u64 page, u64 index)
{
	return (volatile u64 *)(MSHARE_WINDOW + page * PAGE_SIZE) + index;
}

/* The mark that process `number` reads as its i-th. */
static u64 choice(u64 number, u64 i)
{
	return mix(mix(seed ^ number << 20) + i) % nr_marks();
}

/* ---- the processes that read ---- */

/* Reads as process `number`; the sum of the marks that were found. */
static struct report read_words(u64 number)
{
	struct report report = { number, 0, 0 };

	for (u64 i = 0; i < nr_reads; i++) {
		u64 k = choice(number, i), r = mix(mix(~seed + number) + i);
		u64 found = *word(mark_page(k), 0);

		report.wrong += found != mark_value(k);
		report.sum += found;
		report.wrong += *word(r % nr_pages, 1 + (r >> 40) % 511) != 0;
	}
	return report;
}

/* sga plain|client NUMBER SIZE READS SEED FD REPORTS GATE */
static int reader(char **argv)
{
	u64 number = atou64(argv[2]), size = atou64(argv[3]);
	struct report report;
	char byte;

	nr_pages = size / PAGE_SIZE;
	nr_reads = atou64(argv[4]);
	seed = atou64(argv[5]);
	if (!strcmp(argv[1], "plain"))
		must(sys_mmap(MSHARE_WINDOW, size, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_POPULATE | MAP_NORESERVE | MAP_FIXED,
			      (int)atou64(argv[6]), 0), "mmap");
	else
		must(sys_mshare(NAME, MSHARE_WINDOW, size, O_RDWR, 0600), "mshare: attach");
	report = read_words(number);
	must(sys_write((int)atou64(argv[7]), &report, sizeof(report)), "tell the donor");
	must(sys_read((int)atou64(argv[8]), &byte, 1), "wait at the gate");
	if (strcmp(argv[1], "plain"))
		must(sys_mshare_unlink(NAME), "mshare_unlink");
	return 0;
}

/* ---- the donor ---- */

static char *number_text(u64 value, char *end)
{
	*--end = 0;
	do
		*--end = '0' + value % 10;
	while (value /= 10);
	return end;
}

/* Starts one process; its arguments are those of reader(). */
static void start(char *program, const char *mode, u64 number, int fd)
{
	u64 values[] = { number, nr_pages * PAGE_SIZE, nr_reads, seed, fd, reports[1], gate[0] };
	char text[7][24], *argv[10] = { program, (char *)mode }, *envp[] = { NULL };
	long pid = must(sys_fork(), "fork");

	if (pid)
		return;
	sys_close(gate[1]);
	sys_close(reports[0]);
	for (int i = 0; i < 7; i++)
		argv[2 + i] = number_text(values[i], text[i] + sizeof(text[i]));
	argv[9] = NULL;
	die("execve", -sys_execve(program, argv, envp));
}

/* Starts processes and waits until each has read. Returns the sum of what they found. */
static u64 run(char *program, const char *mode, u64 first, u64 number, int fd)
{
	u64 sum = 0;

	for (u64 i = 0; i < number; i++)
		start(program, mode, first + i, fd);
	for (u64 i = 0; i < number; i++) {
		struct report report;
		u64 expected = 0;

		if (must(sys_read(reports[0], &report, sizeof(report)), "read a report") != sizeof(report))
			die("read a report", EINVAL);
		for (u64 j = 0; j < nr_reads; j++)
			expected += mark_value(choice(report.number, j));
		if (report.wrong || report.sum != expected)
			exit_status = 3;
		sum += report.sum;
	}
	started += number;
	return sum;
}

static void end(void)
{
	ending = 1;
}

int main(int argc, char **argv, char **envp)
{
	u64 size, clients, plain, sum = 0;
	int fd;

	(void)envp;
	if (argc == 9)
		return reader(argv);
	if (argc != 6)
		usage("sga SIZE CLIENTS PLAIN READS SEED");
	size = atou64(argv[1]);
	clients = atou64(argv[2]);
	plain = atou64(argv[3]);
	nr_reads = atou64(argv[4]);
	seed = atou64(argv[5]);
	nr_pages = size / PAGE_SIZE;
	if (!size || size % mshare_unit() || clients + plain > MAX_PROCESSES)
		usage("sga: SIZE in units of msharefs, at most 32000 processes");

	on_signal(SIGUSR1, end, 0, 0);
	must(sys_pipe2(reports, 0), "pipe");
	must(sys_pipe2(gate, 0), "pipe");
	fd = must(syscall3(__NR_memfd_create, (u64)NAME, 0, 0), "memfd_create");
	must(sys_ftruncate(fd, size), "ftruncate");
	must(sys_mmap(MSHARE_WINDOW, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_POPULATE | MAP_NORESERVE | MAP_FIXED, fd, 0), "mmap");
	print("sga: %lu pages populated\n", nr_pages);
	for (u64 k = 0; k < nr_marks(); k++)
		*word(mark_page(k), 0) = mark_value(k);
	print("sga: %lu marks written\n", nr_marks());
	if (plain) {
		sum += run(argv[0], "plain", 0, plain, fd);
		print("sga: %lu processes have mapped it plainly\n", plain);
	}
	must(sys_mshare(NAME, MSHARE_WINDOW, size, O_CREAT | O_EXCL | O_RDWR, 0600), "mshare: create");
	sys_close(fd);
	print("sga: mshare() has made a region of it\n");
	sum += run(argv[0], "client", plain, clients, fd);
	print("sga: %lu processes have attached\n", clients);
	print("sga: %lu processes have read %lu words, checksum %lx: %s\n", started, started * nr_reads * 2, sum,
	      exit_status ? "WRONG" : "ok");

	while (!ending)
		sys_pause();
	sys_close(gate[1]);
	for (u64 i = 0; i < started; i++)
		if (exited(wait_for(-1)) != 0)
			exit_status = 3;
	must(sys_mshare_unlink(NAME), "mshare_unlink");
	print("sga: all have ended: %s\n", exit_status ? "WRONG" : "ok");
	return exit_status;
}
