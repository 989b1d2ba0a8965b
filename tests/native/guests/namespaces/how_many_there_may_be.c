/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/sys/user/max_*_namespaces: counted for each user in each user namespace, and those around. */
// needs: root, proc, namespaces
#include "native.h"

static void set(const char *text)
{
	int fd = MUST(open, "/proc/sys/user/max_uts_namespaces", O_WRONLY);

	MUST(write, fd, text, strlen(text));
	MUST(close, fd);
}

/* A descriptor keeps each. */
static long another(void)
{
	long result = SYS(unshare, CLONE_NEWUTS);

	MUST(open, "/proc/self/ns/uts", O_RDONLY);
	return result;
}

int main(void)
{
	MUST(unshare, CLONE_NEWUSER);
	cat("/proc/sys/user/max_uts_namespaces");
	set("2");
	cat("/proc/sys/user/max_uts_namespaces");
	show("first", another());
	show("second", another());
	show("third", another());
	SHOW(unshare, CLONE_NEWUSER | CLONE_NEWUTS);
	set("3");
	show("third", another());
	show("fourth", another());
	SHOW(unshare, CLONE_NEWUSER);
	set("0");
	show("none", another());
	SHOW(unshare, CLONE_NEWIPC);
	return 0;
}
