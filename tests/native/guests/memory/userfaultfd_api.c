/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, proc
/* userfaultfd(2), UFFDIO_API, and which ranges can be registered. */
#include "uffd.h"

static void api(int fd, u64 number, u64 features)
{
	struct uffd_api a = { number, features, 0 };
	long r = SYS(ioctl, fd, API, &a);

	print("api %lx %lx = %s: %lx %lx\n", number, features, result_name(r), a.api, a.features);
}

static void reg(int fd, const char *what, void *start, u64 len, u64 mode)
{
	struct uffd_register r = { (u64)start, len, mode, 0 };
	long result = SYS(ioctl, fd, REGISTER, &r);

	print("%s, mode %ld: %s %lx\n", what, mode, result_name(result), r.ioctls);
}

static void unreg(int fd, const char *what, void *start, u64 len)
{
	u64 range[2] = { (u64)start, len };
	long result = SYS(ioctl, fd, UNREGISTER, range);

	print("un%s: %s\n", what, result_name(result));
}

int main(void)
{
	pages_begin();
	struct uffd_message m;
	int fd = MUST(userfaultfd, 0), other = uffd_open(0);
	struct pollfd p = { fd, POLLIN, 0 };
	SHOW(userfaultfd, 2);
	SHOW(userfaultfd, -1);
	SHOW(read, fd, &m, sizeof(m));
	SHOW(poll, &p, 1, 0);
	print("%x\n", p.revents);
	SHOW(ioctl, fd, REGISTER, &m);
	SHOW(ioctl, fd, API + 1, &m);
	api(fd, 0xAB, 0);
	api(fd, 0xAA, 1UL << 40);
	SHOW(ioctl, fd, API, NOWHERE);
	api(fd, 0xAA, F_THREAD_ID);
	api(fd, 0xAA, 0);
	SHOW(ioctl, fd, 0x5401, &m);
	SHOW(poll, &p, 1, 0);
	print("%x\n", p.revents);
	MUST(fcntl, fd, F_SETFL, O_NONBLOCK);
	SHOW(poll, &p, 1, 0);
	SHOW(read, fd, &m, sizeof(m));
	SHOW(read, fd, &m, sizeof(m) - 1);
	SHOW(write, fd, &m, sizeof(m));
	SHOW(lseek, fd, 0, SEEK_SET);
	SHOW(fcntl, fd, F_GETFL, 0);

	char *a = anonymous(8 * PAGE, MAP_PRIVATE), *s = anonymous(8 * PAGE, MAP_SHARED);
	put("file", "text");
	int file = MUST(open, "file", O_RDWR), memfd = MUST(memfd_create, "m", 0), readonly;
	MUST(ftruncate, memfd, 8 * PAGE);
	char *mp = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ, MAP_PRIVATE, memfd, 0);
	readonly = MUST(open, "file", O_RDONLY);
	char *ro = (void *)MUST(mmap, 0, PAGE, PROT_READ, MAP_SHARED, readonly, 0);
	char *none = (void *)MUST(mmap, 0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)file;
	for (int mode = 0; mode < 9; mode++) {
		reg(fd, "private", a, 8 * PAGE, mode);
		reg(fd, "shared", s, 8 * PAGE, mode);
		reg(fd, "memfd", mp, 8 * PAGE, mode);
		reg(fd, "read-only", ro, PAGE, mode);
		reg(fd, "no rights", none, PAGE, mode);
	}
	reg(other, "another's", a, PAGE, MISSING);
	unreg(other, "another's", a, PAGE);
	unreg(fd, "private", a, 8 * PAGE);
	unreg(fd, "private again", a, 8 * PAGE);
	reg(fd, "a part", a + PAGE, 2 * PAGE, MISSING);
	SAY(mappings(a, 8 * PAGE));
	reg(fd, "the rest", a, 8 * PAGE, MISSING);
	SAY(mappings(a, 8 * PAGE));
	unreg(fd, "a part", a + 4 * PAGE, PAGE);
	SAY(mappings(a, 8 * PAGE));
	MUST(munmap, a + 6 * PAGE, PAGE);
	reg(fd, "with a hole", a, 8 * PAGE, MISSING);
	unreg(fd, "with a hole", a, 8 * PAGE);
	reg(fd, "nothing there", a + 6 * PAGE, PAGE, MISSING);
	unreg(fd, "nothing there", a + 6 * PAGE, PAGE);
	reg(fd, "no length", a, 0, MISSING);
	reg(fd, "not whole", a, 100, MISSING);
	reg(fd, "not aligned", a + 1, PAGE, MISSING);
	reg(fd, "low", 0, PAGE, MISSING);
	reg(fd, "too long", a, -PAGE, MISSING);
	reg(fd, "too high", (void *)(1UL << 47), PAGE, MISSING);
	SHOW(ioctl, fd, REGISTER, NOWHERE);
	u64 range[2] = { (u64)a, PAGE };
	SHOW(ioctl, fd, WAKE, range);
	range[1] = 0;
	SHOW(ioctl, fd, WAKE, range);
	SHOW(ioctl, fd, WAKE, NOWHERE);

	int device = MUST(open, "/dev/userfaultfd", O_RDWR);
	SHOW(ioctl, device, 0xAA00, 0);
	SHOW(ioctl, device, 0xAA00, 2);
	SHOW(ioctl, device, 0xAA01, 0);
	become(1000);
	SHOW(userfaultfd, 0);
	DO(userfaultfd, 1);
	DO(userfaultfd, 1 | O_CLOEXEC);
	DO(ioctl, device, 0xAA00, 0);
	api(MUST(userfaultfd, 1), 0xAA, 2);
	return 0;
}
