/* SPDX-License-Identifier: GPL-2.0-or-later */
/* quotactl(2), quotactl_fd(2), ustat(2), sysfs(2): old questions, and what is wrong with them. */
#include "native.h"

#define QCMD(command, type) ((command) << 8 | (type))
#define Q_SYNC 0x800001
#define Q_GETFMT 0x800004

int main(void)
{
	struct stat st;
	char text[64];
	int fd = MUST(open, "file", O_RDWR | O_CREAT, 0600);

	SHOW(quotactl, QCMD(Q_SYNC, 0), NULL, 0, NULL);
	SHOW(quotactl, QCMD(Q_SYNC, 3), NULL, 0, NULL);
	SHOW(quotactl, QCMD(Q_GETFMT, 0), NULL, 0, text);
	SHOW(quotactl, QCMD(Q_GETFMT, 0), "file", 0, text);
	SHOW(quotactl, QCMD(Q_GETFMT, 0), "missing", 0, text);
	SHOW(quotactl, QCMD(Q_GETFMT, 0), NOWHERE, 0, text);
	SHOW(quotactl_fd, 99, QCMD(Q_GETFMT, 0), 0, text);
	SHOW(quotactl_fd, fd, QCMD(Q_GETFMT, 3), 0, text);
	SHOW(quotactl_fd, fd, QCMD(Q_GETFMT, 0), 0, text);
	MUST(fstat, fd, &st);
	SHOW(ustat, (u32)st.st_dev, text);
	SHOW(ustat, (u32)st.st_dev, NOWHERE);
	SHOW(ustat, 0x7fff0000, text);
	print("some kinds of file systems: %d\n", SYS(sysfs, 3) > 3);
	long number = SYS(sysfs, 1, "tmpfs");
	print("tmpfs has a number: %d\n", number >= 0);
	SHOW(sysfs, 2, number, text);
	print("%s\n", text);
	SHOW(sysfs, 2, number, NOWHERE);
	SHOW(sysfs, 2, 1000, text);
	SHOW(sysfs, 1, "nonesuchfs");
	SHOW(sysfs, 1, NOWHERE);
	SHOW(sysfs, 4);
	SHOW(sysfs, 0);
	return 0;
}
