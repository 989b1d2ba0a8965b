/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reboot(2), acct(2), vhangup(2): what a user may not, and arguments that are wrong. */
// needs: root
#include "native.h"

int main(void)
{
	SHOW(reboot, 1, 2, 3, NULL);
	become(1000);
	SHOW(reboot, 0xfee1dead, 672274793, 0, NULL);
	SHOW(acct, NULL);
	SHOW(acct, "missing");
	return 0;
}
