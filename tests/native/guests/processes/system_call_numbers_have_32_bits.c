/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The upper half of RAX is not looked at when a system call is made, and numbers that no call has are ENOSYS. */
#include "native.h"

int main(void)
{
	long pid = SYS(getpid);

	print("%d\n", system_call(__NR_getpid | 0xdead000000000000, 0, 0, 0, 0, 0, 0) == pid);
	print("%d\n", system_call(__NR_getpid | 0x8000000000000000, 0, 0, 0, 0, 0, 0) == pid);
	print("%d\n", system_call(__NR_getpid | 0xffffffff00000000, 0, 0, 0, 0, 0, 0) == pid);
	show("-1", system_call(-1, 0, 0, 0, 0, 0, 0));
	show("0x7fffffff80000000", system_call(0x7fffffff80000000, 0, 0, 0, 0, 0, 0));
	show("1 << 29", system_call(1 << 29, 0, 0, 0, 0, 0, 0));
	return 0;
}
