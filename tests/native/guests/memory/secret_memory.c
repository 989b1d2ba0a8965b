/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.5
// needs: root, proc
/* memfd_secret(2): what can be done with the file, and who reaches the memory. */
#include "pages.h"

int main(void)
{
	pages_begin();
	int fd = MUST(memfd_secret, 0);
	SHOW(memfd_secret, 1);
	SHOW(fcntl, MUST(memfd_secret, O_CLOEXEC), F_GETFD, 0);
	SHOW(fcntl, fd, F_GETFD, 0);
	SHOW(fcntl, fd, F_GETFL, 0);
	char buffer[64] = "text", *p;
	struct stat st;
	MUST(fstat, fd, &st);
	print("mode %o size %ld\n", st.st_mode, st.st_size);
	SHOW(read, fd, buffer, 4);
	SHOW(write, fd, buffer, 4);
	SHOW(pread64, fd, buffer, 4, 0);
	SHOW(pwrite64, fd, buffer, 4, 0);
	SHOW(lseek, fd, 0, SEEK_END);
	SHOW(fallocate, fd, 0, 0, PAGE);
	SHOW(fcntl, fd, F_GET_SEALS, 0);
	SHOW(fsync, fd);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	p = (void *)MUST(mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SAY(read_byte(p));
	SHOW(ftruncate, fd, 3 * PAGE);
	SHOW(ftruncate, fd, 4 * PAGE);
	SHOW(ftruncate, fd, PAGE);
	SHOW(ftruncate, fd, 0);
	SAY(write_byte(p, 'a'));
	SAY(write_byte(p + 2 * PAGE, 'b'));
	SAY(write_byte(p + 3 * PAGE, 'c'));
	show_pages("secret", p, 4);
	struct iovec local = { buffer, 4 }, remote = { p, 4 };
	SHOW(process_vm_readv, SYS(getpid), &local, 1, &remote, 1, 0);
	SHOW(process_vm_writev, SYS(getpid), &local, 1, &remote, 1, 0);
	int mem = MUST(open, "/proc/self/mem", O_RDWR);
	SHOW(pread64, mem, buffer, 4, p);
	SHOW(pwrite64, mem, buffer, 4, p);
	int null = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	SHOW(write, null, p, 4);
	SHOW(pread64, null, p + 8, 4, 0);
	print("%c %c\n", p[0], p[8]);
	SHOW(madvise, p, PAGE, MADV_POPULATE_READ);
	SHOW(madvise, p + PAGE, PAGE, MADV_POPULATE_WRITE);
	SHOW(madvise, p, PAGE, MADV_COLD);
	SHOW(madvise, p, PAGE, MADV_DONTNEED);
	SHOW(madvise, p, PAGE, MADV_DONTNEED_LOCKED);
	SHOW(madvise, p, PAGE, MADV_DODUMP);
	SHOW(mlock, p, PAGE);
	SHOW(munlock, p, PAGE);
	SHOW(mprotect, p, PAGE, PROT_READ);
	SHOW(msync, p, PAGE, MS_SYNC);
	show_pages("secret", p, 4);
	SAY(mappings(p, 4 * PAGE));
	if (!MUST(fork)) {
		print("child %d\n", read_byte(p));
		SAY(write_byte(p + PAGE, 'z'));
		leave(0);
	}
	reap(-1);
	SAY(read_byte(p + PAGE));
	struct rlimit limit = { PAGE, PAGE };
	become(1000);
	MUST(setrlimit, RLIMIT_MEMLOCK, &limit);
	SHOW(mmap, 0, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	return 0;
}
