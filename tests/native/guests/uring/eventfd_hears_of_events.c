/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_uring_register(2): an eventfd counts events; probes, personalities, rings that begin disabled. */
// since: 6.18
// needs: root
#include "native.h"
#include "uring.h"

int main(void)
{
	struct ring ring;
	u64 value = 0;
	static struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[256];
	} probe;
	setup(&ring, 8, IORING_SETUP_R_DISABLED);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	SHOW(io_uring_enter, ring.fd, 1, 0, 0, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	int fd = MUST(eventfd2, 0, O_NONBLOCK);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &fd, 2);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &fd, 1);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &fd, 1);
	go(&ring, 1);
	SHOW(read, fd, &value, 8);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	*WORD(&ring, cq_off.flags) = IORING_CQ_EVENTFD_DISABLED;
	go(&ring, 1);
	SHOW(read, fd, &value, 8);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_EVENTFD, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_EVENTFD, NULL, 0);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_PROBE, &probe, 256);
	print("%d %d %d, %d %d\n", probe.head.last_op, probe.head.ops_len, probe.ops[5].op, probe.ops[0].flags,
	      probe.ops[IORING_OP_RECV].flags);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_PROBE, &probe, 256);
	SHOW(io_uring_register, ring.fd, IORING_REGISTER_PROBE, NULL, 1);
	int root = SHOW(io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	MUST(mkdir, "private", 0700);
	become(1000);
	entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "private/.", 0, 0);
	entry(&ring, IORING_OP_OPENAT, AT_FDCWD, "private/.", 0, 0)->personality = root;
	go(&ring, 2);
	entry(&ring, IORING_OP_NOP, -1, NULL, 0, 0)->personality = 77;
	go(&ring, 1);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_PERSONALITY, NULL, root);
	SHOW(io_uring_register, ring.fd, IORING_UNREGISTER_PERSONALITY, NULL, root);
	return 0;
}
