/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first write to a page of a shared mapping sets the file's times; one to a private mapping does not. */
#include "native.h"
#include <sys/mman.h>
#include <sys/stat.h>

static void old(int fd)
{
	struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };

	MUST(utimensat, fd, NULL, times, 0);
}

static long mtime(int fd)
{
	struct stat st;

	MUST(fstat, fd, &st);
	return st.st_mtime;
}

static void try(const char *name, int fd)
{
	print("%s\n", name);
	MUST(ftruncate, fd, 0x4000);
	old(fd);
	char *at = (char *)MUST(mmap, 0, 0x4000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	at[0] = 1;
	SAY(mtime(fd) == 1000);
	MUST(munmap, at, 0x4000);
	at = (char *)MUST(mmap, 0, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SAY(mtime(fd) == 1000);
	at[0] = 1;
	SAY(mtime(fd) > 1000);
	old(fd);
	at[0] = 2; /* the page is writable already */
	SAY(mtime(fd) == 1000);
	at[0x1000] = 1;
	SAY(mtime(fd) > 1000);
	MUST(munmap, at, 0x4000);
	MUST(close, fd);
}

int main(void)
{
	try("file", MUST(open, "file", O_RDWR | O_CREAT, 0600));
	try("memfd", MUST(memfd_create, "memory", 0));
	return 0;
}
