/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_setup(2) and the calls of AIO. */
#include "native.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static char room[64];

int main(void)
{
	aio_context_t ctx = 0, zero = 0, used = 1;
	struct io_event events[4];
	struct timespec none = { 0, 0 }, bad = { 0, -1 };
	u64 count = 0;
	put("file", "0123456789");
	int fd = MUST(open, "file", O_RDWR), ro = MUST(open, "file", O_RDONLY), event = MUST(eventfd2, 0, 04000);
	struct iocb write = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd, .aio_buf = (u64)"abc", .aio_nbytes = 3, .aio_offset = 2, .aio_data = 7 };
	struct iocb read = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd, .aio_buf = (u64)room, .aio_nbytes = 20, .aio_data = 8, .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = event };
	struct iocb odd = { .aio_lio_opcode = 99, .aio_fildes = fd }, denied = write, none_such = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = 99 };
	struct iocb *list[4] = { &write, &read, &odd, NULL };
	denied.aio_fildes = ro;
	SHOW(io_setup, 0, &zero);
	SHOW(io_setup, 4, &used);
	SHOW(io_setup, 4, NOWHERE);
	SHOW(io_setup, -1, &zero);
	SHOW(io_setup, 4, &ctx);
	SHOW(io_submit, ctx, 2, list);
	SHOW(io_getevents, ctx, 1, 4, events, NULL);
	SHOW(io_getevents, ctx, 0, 4, events + 1, &none);
	print("%s\n", room);
	SHOW(eventfd2, 0, 0);
	MUST(read, event, &count, 8);
	SAY(count);
	list[0] = &odd;
	SHOW(io_submit, ctx, 1, list);
	list[0] = &denied;
	SHOW(io_submit, ctx, 1, list);
	list[0] = &none_such;
	SHOW(io_submit, ctx, 1, list);
	list[0] = NOWHERE;
	SHOW(io_submit, ctx, 1, list);
	SHOW(io_submit, ctx, -1, list);
	SHOW(io_submit, ctx, 0, list);
	SHOW(io_submit, 12345, 1, list);
	SHOW(io_submit, ctx, 1, NOWHERE);
	SHOW(io_getevents, ctx, 1, 1, events, &none);
	SHOW(io_getevents, ctx, 2, 1, events, &none);
	SHOW(io_getevents, ctx, -1, 1, events, &none);
	SHOW(io_getevents, ctx, 0, 1, events, &bad);
	SHOW(io_getevents, 12345, 0, 1, events, &none);
	SHOW(io_pgetevents, ctx, 0, 1, events, &none, NULL);
	SHOW(io_pgetevents, 12345, 0, 1, events, &none, NULL);
	struct { void *mask; u64 size; } mask = { &count, 4 };
	SHOW(io_pgetevents, ctx, 0, 1, events, &none, &mask);
	SHOW(io_cancel, ctx, &write, events);
	SHOW(io_cancel, ctx, NOWHERE, events);
	SHOW(io_cancel, 12345, &write, events);
	SHOW(io_destroy, ctx);
	SHOW(io_destroy, ctx);
	cat("file");
	return 0;
}
