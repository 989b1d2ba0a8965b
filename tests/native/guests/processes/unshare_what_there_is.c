/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unshare(2): files and directories, and flags that are none. */
#include "native.h"

int main(void)
{
	SHOW(unshare, 0);
	SHOW(unshare, CLONE_FS);
	SHOW(unshare, CLONE_FILES);
	SHOW(unshare, CLONE_SYSVSEM);
	SHOW(unshare, CLONE_VM);
	SHOW(unshare, 1);
	SHOW(unshare, CLONE_PTRACE);
	return 0;
}
