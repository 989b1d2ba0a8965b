/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/cmdline: it is what lies in memory where the arguments were; a title may go on into the environment. */
// needs: proc
#include "native.h"

static char *args[4] = { "again", "one", "two", NULL }, *env[2] = { "A=bcdefgh", NULL };
static int pid;

static void look(void)
{
	char text[PAGE];
	int fd = MUST(open, "/proc/self/cmdline", O_RDONLY);
	long n = MUST(read, fd, text, sizeof(text) - 1);

	for (long i = 0; i < n; i++)
		if (!text[i])
			text[i] = '|';
	text[n] = 0;
	print("%ld: %s\n", n, text);
	MUST(close, fd);
}

static void fill(char *at, char *end, char with)
{
	while (at < end)
		*at++ = with;
}

int main(UNUSED int argc, char **argv, char **envp)
{
	if (!same(argv[0], "again")) {
		SYS(execve, "/proc/self/exe", args, env);
		return 1;
	}
	char *start = argv[0], *end = envp[0], *last = envp[0] + 10;

	look();
	argv[1][0] = 'O'; /* a letter of an argument */
	look();
	fill(start, end - 1, 'x'); /* all of them, but for the last zero: no title yet */
	look();
	fill(start + 3, start + 5, 0); /* zeros within */
	look();
	fill(start, end, 'y'); /* over the end: a title, up to the environment's first zero */
	look();
	start[4] = 0; /* only its first string is shown */
	look();
	fill(start, last, 'z'); /* over both */
	last[-1] = 0;
	look();
	argv[0] = "elsewhere"; /* where the pointers are does not matter */
	look();
	pid = MUST(fork);
	if (!pid) {
		start[2] = 0; /* a child has a copy */
		look();
		return 0;
	}
	int status;
	SYS(wait4, pid, &status, 0, NULL);
	look();
	return 0;
}
