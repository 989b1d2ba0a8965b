/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CLONE_NEWIPC: POSIX message queues and their limits of one's own. */
// needs: root, proc, namespaces
#include "native.h"
#include <linux/mqueue.h>

int main(void)
{
	struct mq_attr attr = { 0, 3, 16, 0, { 0 } };
	char text[16];
	u32 priority;
	long queue, inner, own;

	MUST(unshare, CLONE_NEWIPC);
	own = MUST(open, "/proc/self/ns/ipc", O_RDONLY);
	queue = SHOW(mq_open, "q", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	SHOW(mq_timedsend, queue, "one", 3, 7, NULL);
	put("/proc/sys/fs/mqueue/msg_max", "20");
	MUST(unshare, CLONE_NEWIPC);
	cat("/proc/sys/fs/mqueue/msg_max");
	SHOW(mq_open, "q", O_RDWR, 0, NULL);
	inner = SHOW(mq_open, "q", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
	SHOW(mq_timedreceive, inner, text, 16, &priority, NULL);
	SHOW(mq_timedreceive, queue, text, 16, &priority, NULL);
	SHOW(mq_timedsend, inner, "two", 3, 1, NULL);
	MUST(setns, own, CLONE_NEWIPC);
	cat("/proc/sys/fs/mqueue/msg_max");
	SHOW(mq_timedreceive, inner, text, 16, &priority, NULL);
	SHOW(mq_unlink, "q");
	SHOW(mq_unlink, "q");
	return 0;
}
