/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait4(2) and waitid(2): each option, for each kind of child. */
#include "native.h"

static const int options[] = { 0, WNOHANG, WUNTRACED, WCONTINUED, __WALL, __WCLONE, __WNOTHREAD, WEXITED, WNOWAIT, 0x100, 0x40 };

int main(void)
{
	siginfo_t info;
	int fds[2], status;
	char byte;
	MUST(pipe2, fds, 0);
	print("no child:");
	for (u32 o = 0; o < COUNT(options); o++)
		print(" %s/%s", result_name(SYS(wait4, -1, &status, options[o] | WNOHANG, NULL)), result_name(SYS(waitid, P_ALL, 0, &info, options[o] | WEXITED | WNOHANG, NULL)));
	print("\n");
	long pid = MUST(fork);
	if (!pid) {
		MUST(close, fds[1]);
		SYS(read, fds[0], &byte, 1);
		leave(3);
	}
	print("one that runs:");
	for (u32 o = 0; o < COUNT(options); o++)
		print(" %s/%s", result_name(SYS(wait4, pid, &status, options[o] | WNOHANG, NULL)), result_name(SYS(waitid, P_PID, pid, &info, options[o] | WEXITED | WNOHANG, NULL)));
	print("\n");
	print("kinds:");
	for (int kind = -1; kind < 6; kind++)
		print(" %s/%s", result_name(SYS(waitid, kind, 0, &info, WEXITED | WNOHANG, NULL)), result_name(SYS(waitid, kind, -5, &info, WEXITED | WNOHANG, NULL)));
	print("\n");
	MUST(close, fds[1]);
	MUST(waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL);
	print("one that ended:");
	for (u32 o = 0; o < COUNT(options); o++)
		print(" %s", result_name(SYS(waitid, P_PID, pid, &info, options[o] | WEXITED | WNOWAIT | WNOHANG, NULL)));
	print("\n");
	SHOW(waitid, P_PID, pid, &info, WEXITED | __WCLONE | WNOHANG, NULL);
	SHOW(waitid, P_PID, pid, &info, WSTOPPED | WNOHANG, NULL);
	SHOW(waitid, P_PID, pid, NULL, WEXITED, NULL);
	return 0;
}
