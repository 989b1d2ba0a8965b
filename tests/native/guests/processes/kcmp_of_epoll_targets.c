/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* kcmp(2) with KCMP_EPOLL_TFD: whether a file is the one that an epoll instance watches. */
#include "native.h"
#include <linux/kcmp.h>
#include <sys/epoll.h>

int main(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct kcmp_epoll_slot slot = { 0 };
	int ends[2], other[2];
	long me = MUST(getpid), set = MUST(epoll_create1, 0);

	MUST(pipe2, ends, 0);
	MUST(pipe2, other, 0);
	MUST(epoll_ctl, set, EPOLL_CTL_ADD, ends[0], &event);
	slot.efd = set;
	slot.tfd = ends[0];
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], &slot);
	print("another: %s\n", SYS(kcmp, me, me, KCMP_EPOLL_TFD, other[0], &slot) > 0 ? "differs" : "is the same");
	slot.toff = 1;
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], &slot);
	slot.toff = 0;
	slot.tfd = 99;
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], &slot);
	slot.efd = ends[1];
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], &slot);
	slot.efd = 99;
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], &slot);
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, 99, &slot);
	SHOW(kcmp, me, me, KCMP_EPOLL_TFD, ends[0], NOWHERE);
	return 0;
}
