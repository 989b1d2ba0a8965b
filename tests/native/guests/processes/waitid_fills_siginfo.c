/* SPDX-License-Identifier: GPL-2.0-or-later */
/* waitid(2): siginfo, WNOWAIT, and the checks of its arguments. */
#include "native.h"

int main(void)
{
	siginfo_t info;
	memset(&info, 1, sizeof(info));
	SHOW(waitid, P_ALL, 0, &info, WEXITED, NULL);
	SHOW(waitid, P_ALL, 0, &info, 0, NULL);
	SHOW(waitid, P_ALL, 0, &info, WNOHANG, NULL);
	SHOW(waitid, P_ALL, 0, &info, WEXITED | 0x100, NULL);
	SHOW(waitid, 7, 0, &info, WEXITED, NULL);
	SHOW(waitid, P_PID, 0, &info, WEXITED, NULL);
	SHOW(waitid, P_PID, -1, &info, WEXITED, NULL);
	SHOW(waitid, P_PGID, -1, &info, WEXITED, NULL);
	SHOW(waitid, P_PIDFD, 99, &info, WEXITED, NULL);
	long pid = MUST(fork);
	if (!pid)
		leave(9);
	SHOW(waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL);
	print("%d %d %d %d\n", info.si_signo, info.si_code, info.si_status, info.si_pid == pid);
	SHOW(waitid, P_PID, pid, NOWHERE, WEXITED | WNOWAIT, NULL);
	SHOW(waitid, P_ALL, 0, NULL, WEXITED, NULL);
	SHOW(waitid, P_PID, pid, &info, WEXITED, NULL);
	pid = MUST(fork);
	if (!pid)
		for (;;)
			SYS(pause);
	memset(&info, 1, sizeof(info));
	SHOW(waitid, P_PID, pid, &info, WEXITED | WNOHANG, NULL);
	print("%d %d\n", info.si_signo, info.si_pid);
	MUST(kill, pid, SIGTERM);
	SHOW(waitid, P_PGID, 0, &info, WEXITED, NULL);
	print("%d %d %d\n", info.si_signo, info.si_code, info.si_status);
	return 0;
}
