/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mshare interfaces that these programs speak.
 *
 * "file": the third series of Anthony Yznaga (August 2025). A region is a file
 *   in msharefs; ftruncate() gives its size, an ioctl puts objects into it, and
 *   mmap() of the whole file gives a process its window on it.
 * "ioctl": the two postings before it (September 2024, January 2025). Regions
 *   have addresses, and ioctls of other numbers.
 * "descriptor": the calls that were described in 2026; numbers and structs are
 *   unimmu's own (docs/mshare-g4.md).
 * "call": the first series of Khalid Aziz (April 2022). Two system calls take
 *   the name of a region. Today's kernels use these numbers for cachestat and
 *   fchmodat2, so ask mshare_unit() first: it ends the program where there is
 *   no msharefs.
 */
#ifndef GUEST_MSHARE_H
#define GUEST_MSHARE_H

#include "guest.h"

#define MSHARE_ROOT "/sys/fs/mshare/"
#define MSHARE_INFO MSHARE_ROOT "mshare_info"
#define MSHARE_SYSCTL "/proc/sys/vm/mshare_size"

/* A multiple of every unit from 2 MiB to 512 GiB, and far away from all else: 2 TiB. */
#define MSHARE_WINDOW (1UL << 41)

/* ---- file interface ---- */

struct mshare_create {
	u64 region_offset; /* where in the region the object begins */
	u64 size;
	u64 offset; /* in the mapped file */
	u32 prot, flags;
	u32 fd; /* of the mapped file, or MSHARE_NO_FD */
	u32 pad;
};
_Static_assert(sizeof(struct mshare_create) == 40, "its size is part of the ioctl number");

struct mshare_unmap {
	u64 region_offset;
	u64 size;
};
_Static_assert(sizeof(struct mshare_unmap) == 16, "its size is part of the ioctl number");

#define MSHARE_NO_FD 0xffffffffU
#define MSHAREFS_CREATE_MAPPING 0x40287800UL /* _IOW('x', 0, struct mshare_create) */
#define MSHAREFS_UNMAP 0x40107801UL /* _IOW('x', 1, struct mshare_unmap) */

/* ---- call interface ---- */

#define __NR_mshare 451
#define __NR_mshare_unlink 452

/* What reading the file of a region gives. */
struct mshare_info {
	u64 start;
	u64 size;
};

static inline long sys_mshare(const char *name, u64 address, size_t size, int flags, int mode)
{
	return syscall6(__NR_mshare, (u64)name, address, size, flags, mode, 0);
}

static inline long sys_mshare_unlink(const char *name)
{
	return syscall3(__NR_mshare_unlink, (u64)name, 0, 0);
}

/* ---- ioctl interface ---- */

#define MSHAREFS_GET_SIZE 0x80107800UL /* _IOR('x', 0, struct mshare_info) */
#define MSHAREFS_SET_SIZE 0x40107801UL /* _IOW('x', 1, struct mshare_info) */
#define MSHAREFS_CREATE_AT 0x40287802UL /* _IOW('x', 2, struct mshare_create), an address for the offset */
#define MSHAREFS_UNMAP_AT 0x40107803UL /* _IOW('x', 3, struct mshare_unmap), an address for the offset */

/* ---- descriptor interface ---- */

#define __NR_mshare_create 600
#define __NR_mshare_attach 601
#define __NR_mshare_detach 602
#define __NR_mshare_map 603
#define __NR_mshare_unmap 604
#define __NR_mshare_protect 605
#define __NR_mshare_advise 606

#define MSHARE_CLOEXEC 02000000
#define MSHARE_ATTACH_FIXED 1

/* What mshare_map() puts into a region. */
struct mshare_map_args {
	u64 offset; /* in the region */
	u64 size;
	u64 file_offset;
	u32 prot, flags;
	int fd; /* of the mapped file, or -1 */
	u32 reserved; /* 0 */
};
_Static_assert(sizeof(struct mshare_map_args) == 40, "the size is an argument of mshare_map");

static inline long sys_mshare_create(unsigned int flags) { return syscall3(__NR_mshare_create, flags, 0, 0); }

static inline long sys_mshare_attach(int fd, u64 offset, u64 size, u64 address, unsigned int flags)
{
	return syscall6(__NR_mshare_attach, fd, offset, size, address, flags, 0);
}

static inline long sys_mshare_detach(u64 address) { return syscall3(__NR_mshare_detach, address, 0, 0); }

static inline long sys_mshare_map(int fd, const struct mshare_map_args *args, size_t size)
{
	return syscall3(__NR_mshare_map, fd, (u64)args, size);
}

static inline long sys_mshare_unmap(int fd, u64 offset, u64 size)
{
	return syscall3(__NR_mshare_unmap, fd, offset, size);
}

static inline long sys_mshare_protect(int fd, u64 offset, u64 size, unsigned int prot)
{
	return syscall6(__NR_mshare_protect, fd, offset, size, prot, 0, 0);
}

static inline long sys_mshare_advise(int fd, u64 offset, u64 size, int advice)
{
	return syscall6(__NR_mshare_advise, fd, offset, size, advice, 0, 0);
}

/* ---- all ---- */

/* The decimal number in a small file; -errno if the file cannot be read, -EINVAL if it has none. */
static inline long number_in_file(const char *path)
{
	char text[64];
	long value = 0, n;
	int fd = sys_open(path, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	n = sys_read(fd, text, sizeof(text));
	sys_close(fd);
	if (n <= 0)
		return n ? n : -EINVAL;
	for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
		value = value * 10 + (text[i] - '0');
	return value ? value : -EINVAL;
}

/* The alignment of regions in bytes: what one entry of the level above a shared table covers. */
static inline u64 mshare_unit(void)
{
	return must(number_in_file(MSHARE_INFO), "read " MSHARE_INFO);
}

static inline u64 round_up(u64 value, u64 unit)
{
	return (value + unit - 1) / unit * unit;
}

/*
 * Makes the region file `path`, as large as `size` bytes need, with one object
 * of `size` bytes at its beginning: the file `object_fd`, or zero pages for -1.
 * Returns the region's file descriptor.
 */
static inline int mshare_region(const char *path, u64 size, int object_fd)
{
	struct mshare_create object = {
		.region_offset = 0,
		.size = size,
		.offset = 0,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_FIXED,
		.fd = object_fd,
	};
	u64 region_size = round_up(size, mshare_unit());
	int fd = must(sys_open(path, O_RDWR | O_CREAT | O_EXCL, 0600), "create the region file");

	if (object_fd < 0)
		object.flags |= MAP_ANONYMOUS | MAP_NORESERVE;
	must(sys_ftruncate(fd, region_size), "ftruncate the region");
	must(sys_ioctl(fd, MSHAREFS_CREATE_MAPPING, &object), "MSHAREFS_CREATE_MAPPING");
	return fd;
}

/* Maps the whole region behind `fd`, at `address` or, for 0, where the kernel likes. */
static inline void *mshare_window(int fd, u64 address)
{
	struct stat stat;

	must(sys_fstat(fd, &stat), "fstat the region");
	return (void *)must(sys_mmap(address, stat.st_size, PROT_READ | PROT_WRITE,
				     MAP_SHARED | (address ? MAP_FIXED : 0), fd, 0),
			    "mmap the region");
}

#endif
