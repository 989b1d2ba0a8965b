/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mq_open(2) and the calls of a queue. */
#include "native.h"

int main(void)
{
	struct { long flags, maxmsg, msgsize, curmsgs, reserved[4]; } attr = { 0, 2, 8, 0, { 0 } }, old;
	char text[8] = "";
	u32 prio = 99;
	struct timespec past = { 1, 0 }, bad = { 0, -1 };
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	SYS(mq_unlink, "native-guest");
	int q = SHOW(mq_open, "native-guest", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
	SHOW(mq_open, "native-guest", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	SHOW(mq_open, "native-guest-missing", O_RDWR, 0, NULL);
	SHOW(mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL);
	SHOW(mq_open, "", O_RDWR | O_CREAT, 0600, NULL);
	SHOW(mq_open, NOWHERE, O_RDWR | O_CREAT, 0600, NULL);
	attr.maxmsg = 0;
	SHOW(mq_open, "native-guest-2", O_RDWR | O_CREAT, 0600, &attr);
	SHOW(mq_timedsend, q, "low", 4, 1, NULL);
	SHOW(mq_timedsend, q, "high", 5, 7, NULL);
	SHOW(mq_timedsend, q, "more", 5, 7, NULL);
	SHOW(mq_timedsend, q, "too long", 9, 7, NULL);
	SHOW(mq_timedsend, q, "x", 1, 32768, NULL);
	SHOW(mq_timedsend, q, "x", 1, 1, &bad);
	SHOW(mq_timedsend, 99, "x", 1, 1, NULL);
	SHOW(mq_timedsend, 1, "x", 1, 1, NULL);
	SHOW(mq_timedreceive, q, text, 7, &prio, NULL);
	SHOW(mq_timedreceive, q, text, 8, &prio, NULL);
	print("%s %u\n", text, prio);
	SHOW(mq_timedreceive, q, text, 8, &prio, NULL);
	print("%s %u\n", text, prio);
	SHOW(mq_timedreceive, q, text, 8, &prio, NULL);
	SHOW(mq_timedreceive, 99, text, 8, &prio, NULL);
	SHOW(mq_getsetattr, q, NULL, &old);
	print("%lx %ld %ld %ld\n", old.flags, old.maxmsg, old.msgsize, old.curmsgs);
	attr.flags = 0;
	SHOW(mq_getsetattr, q, &attr, NULL);
	SHOW(mq_timedreceive, q, text, 8, &prio, &past);
	attr.flags = 1;
	SHOW(mq_getsetattr, q, &attr, NULL);
	SHOW(mq_getsetattr, 99, NULL, &old);
	SHOW(mq_notify, q, &event);
	SHOW(mq_notify, q, &event);
	SHOW(mq_notify, q, NULL);
	SHOW(mq_notify, 99, &event);
	event.sigev_notify = 99;
	SHOW(mq_notify, q, &event);
	SHOW(mq_unlink, "native-guest");
	SHOW(mq_unlink, "native-guest");
	SHOW(mq_unlink, "");
	return 0;
}
