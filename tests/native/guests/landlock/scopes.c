/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: signals and abstract sockets out of reach; ptrace, and what is mounted. */
// since: 6.18
// needs: root
#include "native.h"
#include "landlock.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
	struct sockaddr_un name = { AF_UNIX, "\0native guest of landlock" }, own = { AF_UNIX, "\0native guest, own" };
	u32 size = 2 + 26;
	char byte;
	int fds[2], listener = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	MUST(bind, listener, &name, size);
	MUST(listen, listener, 5);
	int target = MUST(socket, AF_UNIX, SOCK_DGRAM, 0), client = MUST(socket, AF_UNIX, SOCK_STREAM, 0);
	MUST(bind, target, &name, size);
	MUST(pipe, fds);
	long parent = SYS(getpid), child = MUST(fork);
	if (!child) {
		int set = ruleset(ALL, 0, SCOPE_ABSTRACT | SCOPE_SIGNAL);
		restrict_self(set);
		SHOW(kill, parent, 0);
		SHOW(kill, parent, SIGTERM);
		SHOW(kill, SYS(getpid), 0);
		SHOW(tgkill, parent, parent, 0);
		SHOW(connect, client, &name, size);
		int other = MUST(socket, AF_UNIX, SOCK_DGRAM, 0);
		SHOW(sendto, other, "x", 1, 0, &name, size);
		SHOW(connect, other, &name, size);
		int mine = MUST(socket, AF_UNIX, SOCK_DGRAM, 0);
		MUST(bind, mine, &own, 2 + 18);
		SHOW(sendto, other, "x", 1, 0, &own, 2 + 18);
		SHOW(ptrace, 16, parent, 0, 0);
		SHOW(process_vm_readv, parent, NULL, 0, NULL, 0, 0);
		SHOW(kcmp, parent, SYS(getpid), 1, 0, 0);
		SHOW(mount, "none", ".", "tmpfs", 0, NULL);
		SHOW(umount2, ".", 0);
		SHOW(pivot_root, ".", ".");
		long grandchild = MUST(fork);
		if (!grandchild) {
			MUST(read, fds[0], &byte, 1);
			leave(0);
		}
		SHOW(kill, grandchild, 0);
		DO(ptrace, 16, grandchild, 0, 0);
		MUST(kill, grandchild, SIGKILL);
		MUST(wait4, grandchild, NULL, 0, 0);
		leave(0);
	}
	reap(child);
	child = MUST(fork);
	if (!child) {
		int set = ruleset(0, BIND_TCP, 0);
		restrict_self(set);
		SHOW(kill, parent, 0);
		SHOW(connect, client, &name, size);
		SHOW(kcmp, parent, SYS(getpid), 1, 0, 0);
		DO(ptrace, 16, parent, 0, 0);
		leave(0);
	}
	reap(child);
	return 0;
}
