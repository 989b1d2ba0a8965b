/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flock(2): locks of open files, not of processes. */
#include "native.h"
#include <sys/file.h>

int main(void)
{
	put("file", "x");
	int a = MUST(open, "file", O_RDONLY), b = MUST(open, "file", O_RDONLY), c = MUST(dup, a);
	SHOW(flock, a, LOCK_SH);
	SHOW(flock, b, LOCK_SH | LOCK_NB);
	SHOW(flock, a, LOCK_EX | LOCK_NB);
	SHOW(flock, b, LOCK_UN);
	SHOW(flock, a, LOCK_EX | LOCK_NB);
	SHOW(flock, b, LOCK_SH | LOCK_NB);
	SHOW(flock, c, LOCK_EX | LOCK_NB);
	SHOW(close, a);
	SHOW(flock, b, LOCK_SH | LOCK_NB);
	SHOW(flock, c, LOCK_UN);
	SHOW(flock, b, LOCK_SH | LOCK_NB);
	SHOW(flock, b, 0);
	SHOW(flock, b, LOCK_SH | LOCK_EX);
	SHOW(flock, b, LOCK_NB);
	SHOW(flock, 99, 0);
	SHOW(flock, 99, LOCK_SH);
	SHOW(flock, MUST(open, "file", O_PATH), LOCK_SH);
	return 0;
}
