/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/uid_map, gid_map and setgroups (user_namespaces(7)). */
#ifndef IDMAP_H
#define IDMAP_H

/* What write(2) gives, or open(2) where that fails. */
static long put_map(const char *path, const char *text)
{
	int fd = SYS(open, path, O_WRONLY);
	long result;

	if (fd < 0)
		return fd;
	result = SYS(write, fd, text, strlen(text));
	SYS(close, fd);
	return result;
}

#endif
