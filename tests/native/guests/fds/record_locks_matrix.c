/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of locks that overlap in each way, as another process sees them. */
#include "native.h"

static void ask(int fd)
{
	long start = 0;

	for (int i = 0; i < 12; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_start = start, .l_len = 0 };

		MUST(fcntl, fd, F_GETLK, &lock);
		if (lock.l_type == F_UNLCK)
			break;
		print(" %c%ld+%ld", lock.l_type == F_RDLCK ? 'r' : 'w', (long)lock.l_start, (long)lock.l_len);
		if (!lock.l_len)
			break;
		start = lock.l_start + lock.l_len;
	}
	print("\n");
}

int main(void)
{
	static const int starts[] = { 0, 5, 10, 15, 20, 25 }, lengths[] = { 5, 10, 20, 0 };
	put("file", "x");
	int fd = MUST(open, "file", O_RDWR);
	for (int before = 0; before < 3; before++)
		for (u32 s = 0; s < COUNT(starts); s++)
			for (u32 l = 0; l < COUNT(lengths); l++)
				for (int type = 0; type < 3; type++) {
					struct flock all = { .l_type = F_UNLCK }, one = { .l_type = F_RDLCK, .l_start = 10, .l_len = 10 };
					struct flock more = { .l_type = F_WRLCK, .l_start = 20, .l_len = 5 }, next = { .l_type = type, .l_start = starts[s], .l_len = lengths[l] };

					MUST(fcntl, fd, F_SETLK, &all);
					if (before)
						MUST(fcntl, fd, F_SETLK, &one);
					if (before > 1)
						MUST(fcntl, fd, F_SETLK, &more);
					MUST(fcntl, fd, F_SETLK, &next);
					print("%d %d+%d %d:", before, starts[s], lengths[l], type);
					long pid = MUST(fork);
					if (!pid) {
						ask(fd);
						leave(0);
					}
					MUST(wait4, pid, NULL, 0, NULL);
				}
	return 0;
}
