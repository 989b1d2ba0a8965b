/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process_vm_readv(2) and process_vm_writev(2). */
#include "native.h"

static char text[16];

int main(void)
{
	char here[16] = "";
	struct iovec local = { here, 4 }, remote = { text, 4 }, bad = { NOWHERE, 4 };
	int fds[2], ready[2];
	char byte;
	MUST(pipe2, fds, 0);
	MUST(pipe2, ready, 0);
	long pid = MUST(fork);
	if (!pid) {
		MUST(close, fds[1]);
		memcpy(text, "child", 6);
		SYS(write, ready[1], "x", 1);
		SYS(read, fds[0], &byte, 1);
		print("child: %s\n", text);
		leave(0);
	}
	MUST(read, ready[0], &byte, 1);
	SHOW(process_vm_readv, pid, &local, 1, &remote, 1, 0);
	print("%s\n", here);
	memcpy(here, "CHIL", 4);
	SHOW(process_vm_writev, pid, &local, 1, &remote, 1, 0);
	SHOW(process_vm_readv, pid, &local, 1, &bad, 1, 0);
	SHOW(process_vm_readv, pid, &bad, 1, &remote, 1, 0);
	SHOW(process_vm_writev, pid, &local, 1, &bad, 1, 0);
	SHOW(process_vm_readv, pid, &local, 1, &remote, 1, 1);
	SHOW(process_vm_readv, 1 << 30, &local, 1, &remote, 1, 0);
	SHOW(process_vm_writev, 1 << 30, &local, 1, &remote, 1, 1);
	SHOW(process_vm_readv, pid, &local, 1025, &remote, 1, 0);
	SHOW(process_vm_readv, pid, &local, 0, &remote, 1, 0);
	SHOW(process_vm_readv, pid, NOWHERE, 1, &remote, 1, 0);
	MUST(close, fds[1]);
	reap(pid);
	return 0;
}
