/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root
/* acct(2), reboot(2), vhangup(2): who may, and what is wrong. */
#include "native.h"
#include <linux/reboot.h>

int main(void)
{
	int pid = MUST(fork), status;

	if (!pid) {
		MUST(setsid);
		SHOW(vhangup);
		SHOW(reboot, LINUX_REBOOT_MAGIC1, 0, LINUX_REBOOT_CMD_CAD_OFF, 0);
		SHOW(reboot, 0, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0);
		MUST(setuid, 1000);
		SHOW(vhangup);
		SHOW(acct, NULL);
		SHOW(acct, "a");
		SHOW(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0);
		SHOW(reboot, 0, 0, 0, 0);
		leave(0);
	}
	MUST(wait4, pid, &status, 0, NULL);
	return 0;
}
