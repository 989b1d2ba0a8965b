/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An io_uring without a library: its rings, entries and events. */
#ifndef URING_H
#define URING_H

#include <linux/io_uring.h>

/* What older headers do not have. */
enum { OP_FTRUNCATE = 55, OP_BIND = 56, OP_LISTEN = 57 };
#define NO_SQARRAY (1U << 16)

struct ring {
	int fd;
	struct io_uring_params params;
	char *memory;
	struct io_uring_sqe *sqes;
	u32 queued;
};

#define WORD(ring, at) ((volatile u32 *)((ring)->memory + (ring)->params.at))

UNUSED static void map(struct ring *ring)
{
	struct io_uring_params *p = &ring->params;
	u64 size = p->cq_off.cqes + p->cq_entries * (p->flags & IORING_SETUP_CQE32 ? 32 : 16) + p->sq_entries * 4 + 64;
	ring->memory = (char *)MUST(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = (struct io_uring_sqe *)MUST(mmap, 0, p->sq_entries * (p->flags & IORING_SETUP_SQE128 ? 128 : 64),
						 PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
}

UNUSED static void setup(struct ring *ring, u32 entries, u32 flags)
{
	memset(ring, 0, sizeof(*ring));
	ring->params.flags = flags;
	ring->fd = MUST(io_uring_setup, entries, &ring->params);
	map(ring);
}

/* The next entry, with its number as user data. */
UNUSED static struct io_uring_sqe *entry(struct ring *ring, u8 opcode, int fd, const void *address, u32 length, u64 off)
{
	u32 tail = *WORD(ring, sq_off.tail), at = tail & (ring->params.sq_entries - 1);
	struct io_uring_sqe *sqe = ring->sqes + (ring->params.flags & IORING_SETUP_SQE128 ? at * 2 : at);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->addr = (u64)address;
	sqe->len = length;
	sqe->off = off;
	sqe->user_data = ++ring->queued;
	if (!(ring->params.flags & NO_SQARRAY))
		WORD(ring, sq_off.array)[at] = at;
	*WORD(ring, sq_off.tail) = tail + 1;
	return sqe;
}

/* Submits all, and waits for so many events. */
UNUSED static long submit(struct ring *ring, u32 wait)
{
	u32 count = *WORD(ring, sq_off.tail) - *WORD(ring, sq_off.head);
	return SYS(io_uring_enter, ring->fd, count, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 8);
}

UNUSED static struct io_uring_cqe *event(struct ring *ring, u32 number)
{
	u32 at = number & (ring->params.cq_entries - 1);
	return (void *)(ring->memory + ring->params.cq_off.cqes +
			at * (ring->params.flags & IORING_SETUP_CQE32 ? 32 : 16));
}

/* Prints the events that have come, in the order of their entries: Linux may hand some to a worker. */
UNUSED static int events(struct ring *ring)
{
	int number = 0;
	u32 head = *WORD(ring, cq_off.head), tail = *WORD(ring, cq_off.tail);
	for (u32 end = tail; end != head; end--)
		for (u32 n = head; n + 1 < end; n++) {
			struct io_uring_cqe *one = event(ring, n), *next = event(ring, n + 1), kept = *one;
			if (one->user_data > next->user_data) {
				*one = *next;
				*next = kept;
			}
		}
	for (; head != tail; head++, number++) {
		struct io_uring_cqe *cqe = event(ring, head);
		if (cqe->res < 0)
			print("  %lu: %s", (u64)cqe->user_data, errno_name(-cqe->res));
		else
			print("  %lu: %d", (u64)cqe->user_data, cqe->res);
		print(cqe->flags ? " flags %x\n" : "\n", cqe->flags);
	}
	*WORD(ring, cq_off.head) = head;
	if (!number)
		print("  no event\n");
	return number;
}

UNUSED static void go(struct ring *ring, u32 wait)
{
	print("submitted %ld\n", submit(ring, wait));
	events(ring);
}

#endif
