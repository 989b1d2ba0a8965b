/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io_cancel(2) of a poll that waits. */
#include "native.h"
#include <linux/aio_abi.h>

int main(void)
{
	aio_context_t ctx = 0;
	struct io_event event;
	int fds[2];
	MUST(pipe2, fds, 0);
	struct iocb poll = { .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = fds[0], .aio_buf = POLLIN, .aio_data = 5 };
	struct iocb *list[1] = { &poll };
	struct timespec none = { 0, 0 }, some = { 1, 0 };
	MUST(io_setup, 4, &ctx);
	SHOW(io_submit, ctx, 1, list);
	SHOW(io_getevents, ctx, 0, 1, &event, &none);
	SHOW(io_cancel, ctx, &poll, &event);
	SHOW(io_getevents, ctx, 1, 1, &event, &some);
	print("%ld %ld\n", (long)event.data, (long)event.res);
	SHOW(io_submit, ctx, 1, list);
	MUST(write, fds[1], "x", 1);
	SHOW(io_getevents, ctx, 1, 1, &event, &some);
	print("%ld %ld\n", (long)event.data, (long)event.res);
	SHOW(io_destroy, ctx);
	return 0;
}
