/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring: OPENAT, CLOSE, STATX, MKDIRAT, RENAMEAT, UNLINKAT, SYMLINKAT, LINKAT, and attributes. */
// since: 6.18
#include "native.h"
#include "uring.h"
#include <linux/stat.h>
#include <linux/openat2.h>

static struct ring ring;

int main(void)
{
	struct statx st;
	struct open_how how = { O_RDONLY, 0, RESOLVE_NO_SYMLINKS };
	char value[16] = { 0 };
	setup(&ring, 8, 0);
	struct io_uring_sqe *sqe = entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "file", 0640, 0);
	sqe->open_flags = O_RDWR | O_CREAT;
	go(&ring, 1);
	MUST(write, 4, "twelve bytes", 12);
	entry(&ring, IORING_OP_STATX, AT_FDCWD, "file", STATX_BASIC_STATS, (u64)&st);
	go(&ring, 1);
	print("%lu %o\n", (u64)st.stx_size, st.stx_mode);
	entry(&ring, IORING_OP_CLOSE, 4, NULL, 0, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_CLOSE, 4, NULL, 0, 0);
	entry(&ring, IORING_OP_CLOSE, ring.fd, NULL, 0, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_MKDIRAT, AT_FDCWD, "dir", 0700, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_RENAMEAT, AT_FDCWD, "file", AT_FDCWD, (u64) "dir/moved")->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_SYMLINKAT, AT_FDCWD, "dir/moved", 0, (u64) "link")->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_LINKAT, AT_FDCWD, "dir/moved", AT_FDCWD, (u64) "hard")->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_UNLINKAT, AT_FDCWD, "dir", 0, 0)->unlink_flags = AT_REMOVEDIR;
	go(&ring, 5);
	entry(&ring, IORING_OP_OPENAT2, AT_FDCWD, "link", sizeof(how), (u64)&how);
	go(&ring, 1);
	entry(&ring, IORING_OP_OPENAT2, AT_FDCWD, "hard", sizeof(how), (u64)&how);
	entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "none", 0, 0);
	go(&ring, 2);
	entry(&ring, IORING_OP_OPENAT, AT_FDCWD, NOWHERE, 0, 0);
	go(&ring, 1);
	entry(&ring, IORING_OP_FSETXATTR, 4, "user.a", 5, (u64) "value")->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_GETXATTR, 0, "user.a", 16, (u64)value)->addr3 = (u64) "hard";
	entry(&ring, IORING_OP_FGETXATTR, 4, "user.b", 16, (u64)value);
	go(&ring, 3);
	print("%s\n", value);
	entry(&ring, IORING_OP_UNLINKAT, AT_FDCWD, "hard", 0, 0)->flags = IOSQE_IO_LINK;
	entry(&ring, IORING_OP_UNLINKAT, AT_FDCWD, "hard", 0, 0);
	entry(&ring, IORING_OP_FADVISE, 4, NULL, 100, 0);
	entry(&ring, IORING_OP_MADVISE, -1, (void *)0x1001UL, 4096, 0);
	go(&ring, 4);
	return 0;
}
