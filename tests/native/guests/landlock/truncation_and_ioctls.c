/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: TRUNCATE and IOCTL_DEV belong to who opened the file. */
// since: 6.18
#include "native.h"
#include "landlock.h"

int main(void)
{
	int number;
	MUST(mkdir, "a", 0755);
	MUST(mkdir, "b", 0755);
	put("a/file", "text");
	put("b/file", "text");
	int before = MUST(open, "a/file", O_RDWR), tty = MUST(open, "/dev/null", O_RDWR);
	int set = ruleset(TRUNCATE | IOCTL_DEV | WRITE_FILE, 0, 0);
	allow(set, "a", WRITE_FILE);
	allow(set, "b", WRITE_FILE | TRUNCATE);
	allow(set, "/dev/null", WRITE_FILE);
	restrict_self(set);
	int a = MUST(open, "a/file", O_RDWR), b = MUST(open, "b/file", O_RDWR), null = MUST(open, "/dev/null", O_RDWR);
	SHOW(ftruncate, before, 3);
	SHOW(ftruncate, a, 2);
	SHOW(ftruncate, b, 2);
	SHOW(truncate, "a/file", 1);
	SHOW(truncate, "b/file", 1);
	SHOW(open, "a/file", O_WRONLY | O_TRUNC);
	DO(open, "b/file", O_WRONLY | O_TRUNC);
	DO(open, "a/file", O_RDONLY | O_TRUNC);
	SHOW(open, "c", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	DO(open, "a/new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	SHOW(ioctl, tty, 0x5413, &number);
	SHOW(ioctl, null, 0x5413, &number);
	SHOW(ioctl, null, 0x541b, &number);
	SHOW(ioctl, null, 0x5451, 0);
	number = 0;
	SHOW(ioctl, null, 0x5421, &number);
	SHOW(ioctl, a, 0x541b, &number);
	long child = MUST(fork);
	if (!child) {
		SHOW(ftruncate, a, 2);
		SHOW(ftruncate, before, 2);
		leave(0);
	}
	reap(child);
	return 0;
}
