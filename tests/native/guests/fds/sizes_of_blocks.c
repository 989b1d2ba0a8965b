/* SPDX-License-Identifier: GPL-2.0-or-later */
/* st_blksize, by which programs choose the size of their buffers: of /proc, terminals, pipes, devices. */
// needs: sys
#include "native.h"

#include <sys/ioctl.h>

static void size_of(int fd)
{
	struct stat found = {0};
	SHOW(fstat, fd, &found);
	SAY(found.st_blksize);
}

int main(void)
{
	int fds[2], unlock = 0;
	int master = MUST(open, "/dev/ptmx", O_RDWR | O_NOCTTY);
	MUST(ioctl, master, TIOCSPTLCK, &unlock);
	MUST(pipe2, fds, 0);
	size_of(MUST(open, "/proc/stat", O_RDONLY));
	size_of(MUST(open, "/proc/self/stat", O_RDONLY));
	size_of(MUST(open, "/sys/kernel", O_RDONLY));
	size_of(master);
	size_of(MUST(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	size_of(fds[0]);
	size_of(MUST(open, "/dev/null", O_RDONLY));
	size_of(MUST(eventfd2, 0, 0));
	return 0;
}
