/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prctl(2): names, dumpable, parent death signal, no_new_privs, subreaper. */
#include "native.h"
#include <linux/prctl.h>

int main(void)
{
	char name[16];
	SHOW(prctl, PR_SET_NAME, "a name that is too long for it");
	SHOW(prctl, PR_GET_NAME, name);
	print("%s\n", name);
	SHOW(prctl, PR_SET_NAME, NOWHERE);
	SHOW(prctl, PR_GET_NAME, NOWHERE);
	SHOW(prctl, 999, 0, 0, 0, 0);
	return 0;
}
