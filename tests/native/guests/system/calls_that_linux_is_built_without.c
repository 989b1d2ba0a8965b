/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that no 64-bit Linux has any more, or that wait for a part of it that is not there. */
// since: 6.18
#include "native.h"

int main(void)
{
	SHOW(uselib, "/lib/x");
	SHOW(_sysctl, NULL);
	SHOW(create_module, "x", 1);
	SHOW(get_kernel_syms, NULL);
	SHOW(query_module, NULL);
	SHOW(nfsservctl, 0);
	SHOW(getpmsg, 0);
	SHOW(putpmsg, 0);
	SHOW(afs_syscall, 0);
	SHOW(tuxcall, 0);
	SHOW(security, 0);
	SHOW(set_thread_area, 0);
	SHOW(get_thread_area, 0);
	SHOW(lookup_dcookie, 0, NULL, 0);
	SHOW(epoll_ctl_old, 0);
	SHOW(epoll_wait_old, 0);
	SHOW(vserver, 0);
	SHOW(iopl, 3);
	SHOW(ioperm, 0x80, 1, 1);
	SHOW(init_module, NULL, 0, "");
	SHOW(finit_module, -1, "", 0);
	SHOW(delete_module, "x", 0);
	SHOW(kexec_load, 0, 0, NULL, 0);
	SHOW(kexec_file_load, -1, -1, 0, "", 0);
	return 0;
}
