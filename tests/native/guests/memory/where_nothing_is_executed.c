/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file system of which nothing may be executed: mappings of its files, execve(2), access(2). */
// since: 6.18
// needs: root, proc, namespaces
#include "native.h"
#include <sys/mount.h>
int main(void)
{
	char *argv[] = { "x", 0 }, *p;
	int fd;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);
	MUST(mkdir, "d", 0755);
	MUST(mount, "none", "d", "tmpfs", MS_NOEXEC, 0);
	fd = MUST(open, "d/prog", O_CREAT | O_RDWR, 0755);
	MUST(ftruncate, fd, PAGE);
	SHOW(mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	SHOW(mmap, 0, PAGE, PROT_EXEC, MAP_SHARED, fd, 0);
	p = (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	SHOW(mprotect, p, PAGE, PROT_EXEC);
	SHOW(mprotect, p, PAGE, PROT_READ | PROT_WRITE);
	MUST(close, fd);
	SHOW(access, "d/prog", X_OK);
	SHOW(access, "d", X_OK);
	SHOW(access, "d/prog", R_OK);
	SHOW(execve, "d/prog", argv, 0);
	MUST(personality, 0x0400000);
	fd = MUST(open, "d/prog", O_RDWR);
	SHOW(mprotect, MUST(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), PAGE, PROT_READ);
	SHOW(mount, "none", "d", 0, MS_REMOUNT | MS_BIND, 0);
	SHOW(mprotect, p, PAGE, PROT_EXEC);
	SHOW(access, "d/prog", X_OK);
	SHOW(mount, "none", "d", 0, MS_REMOUNT | MS_BIND | MS_NOEXEC, 0);
	SHOW(execve, "d/prog", argv, 0);
	MUST(close, fd);
	MUST(umount2, "d", MNT_DETACH);
	return 0;
}
