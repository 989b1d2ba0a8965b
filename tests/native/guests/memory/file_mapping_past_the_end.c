/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mapping beyond the end of its file: zeros in the last page, then SIGBUS. */
#include "native.h"

static void on_bus(int signo, siginfo_t *info)
{
	print("%s %d\n", signal_name(signo), info->si_code);
	leave(0);
}

int main(void)
{
	put("file", "abc");
	int fd = MUST(open, "file", O_RDWR);
	char *p = (void *)MUST(mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	print("%c %d\n", p[2], p[3]);
	p[3] = 'd';
	SHOW(ftruncate, fd, 6);
	print("%c %d\n", p[3], p[5]);
	handle(SIGBUS, on_bus, SA_SIGINFO);
	SHOW(read, fd, p + PAGE, 1);
	p[PAGE] = 1;
	return 0;
}
