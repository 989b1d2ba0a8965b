/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.8
// needs: root
/* UFFDIO_MOVE of pages that fork has shared: also when the child has ended, until they are written. */
#include "uffd.h"

static long move(int fd, char *to, char *from)
{
	struct uffd_copy copy = { (u64)to, (u64)from, PAGE, 0, 0 };

	return SYS(ioctl, fd, MOVE, &copy);
}

int main(void)
{
	int fd = uffd_open(0);
	char *from = anonymous(4 * PAGE, MAP_PRIVATE), *to = anonymous(4 * PAGE, MAP_PRIVATE);
	long pid;

	uffd_register(fd, to, 4, MISSING);
	memset(from, 'a', 3 * PAGE);
	print("before: %s\n", result_name(move(fd, to, from)));
	pid = MUST(fork);
	if (!pid)
		leave(0);
	MUST(wait4, pid, 0, 0, 0);
	print("shared once: %s\n", result_name(move(fd, to + PAGE, from + PAGE)));
	from[PAGE] = 'b';
	print("written since: %s\n", result_name(move(fd, to + PAGE, from + PAGE)));
	print("not written: %s\n", result_name(move(fd, to + 2 * PAGE, from + 2 * PAGE)));
	print("none: %s\n", result_name(move(fd, to + 3 * PAGE, from + 3 * PAGE)));
	return 0;
}
