/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pipes: what a pipe promises. A write of more than the pipe holds blocks and
 * goes on as the reader reads; bytes come out in order; the end of the last
 * writer is end of file; without a reader, SIGPIPE or EPIPE.
 *
 * Prints:
 *   a pipe holds 65536 bytes, then EAGAIN
 *   200000 bytes in one write: ok
 *   200000 bytes read: ok
 *   end of file when the writer is gone: ok
 *   dup2: through standard output
 *   no reader, SIGPIPE ignored: EPIPE
 *   no reader, SIGPIPE default: killed by SIGPIPE
 *   read end closed: EBADF
 */
#include "guest.h"

#define TOTAL 200000UL

static u8 pattern(u64 position)
{
	return (u8)(position * 7 + position / 251);
}

static void fills_up(void)
{
	static const char block[PAGE_SIZE];
	int fds[2];
	u64 held = 0;
	long n;

	must(sys_pipe2(fds, O_NONBLOCK), "pipe2");
	while ((n = sys_write(fds[1], block, sizeof(block))) > 0)
		held += n;
	print("a pipe holds %lu bytes, then %s\n", held, result_name(n));
	sys_close(fds[0]);
	sys_close(fds[1]);
}

/* The child: one write of everything. Says how it went by its exit status. */
static int write_all(int fd)
{
	static u8 data[TOTAL];

	for (u64 i = 0; i < TOTAL; i++)
		data[i] = pattern(i);
	return sys_write(fd, data, TOTAL) == (long)TOTAL ? 0 : 3;
}

static void blocks_and_ends(void)
{
	static u8 block[3001]; /* never a divisor of what the pipe holds */
	u64 position = 0, wrong = 0;
	int fds[2], status;
	long child, n;

	must(sys_pipe2(fds, 0), "pipe2");
	child = must(sys_fork(), "fork");
	if (child == 0) {
		sys_close(fds[0]);
		sys_exit_group(write_all(fds[1]));
	}
	sys_close(fds[1]);
	while ((n = must(sys_read(fds[0], block, sizeof(block)), "read from a pipe")) > 0)
		for (long i = 0; i < n; i++, position++)
			wrong += block[i] != pattern(position);
	status = wait_for(child);
	check("200000 bytes in one write", exited(status) == 0);
	check("200000 bytes read", position == TOTAL && wrong == 0);
	check("end of file when the writer is gone", n == 0);
	sys_close(fds[0]);
}

static void standard_output_to_pipe(void)
{
	char text[64];
	long child, n;
	int fds[2];

	must(sys_pipe2(fds, 0), "pipe2");
	child = must(sys_fork(), "fork");
	if (child == 0) {
		must(sys_dup2(fds[1], 1), "dup2");
		print("through standard output\n");
		sys_exit_group(0);
	}
	wait_for(child);
	n = must(sys_read(fds[0], text, sizeof(text) - 1), "read from a pipe");
	text[n] = 0;
	print("dup2: %s", text);
	sys_close(fds[0]);
	sys_close(fds[1]);
}

static void no_reader(void)
{
	int fds[2], status;
	long child;

	must(sys_pipe2(fds, 0), "pipe2");
	sys_close(fds[0]);
	on_signal(SIGPIPE, SIG_IGN, 0, 0);
	print("no reader, SIGPIPE ignored: %s\n", result_name(sys_write(fds[1], "x", 1)));

	on_signal(SIGPIPE, SIG_DFL, 0, 0);
	child = must(sys_fork(), "fork");
	if (child == 0) {
		sys_write(fds[1], "x", 1);
		sys_exit_group(0);
	}
	status = wait_for(child);
	print("no reader, SIGPIPE default: killed by %s\n", signal_name(killed_by(status)));
	print("read end closed: %s\n", result_name(sys_read(fds[0], &status, 1)));
}

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	fills_up();
	blocks_and_ends();
	standard_output_to_pipe();
	no_reader();
	return guest_wrong != 0;
}
