/* SPDX-License-Identifier: GPL-2.0-or-later */
/* waitid(2) writes its siginfo_t where it fails, too, and a bad one is the first thing that it tells of. */
#include "native.h"

static void wait_for(int kind, int id, int options)
{
	siginfo_t info;

	__builtin_memset(&info, 0x55, sizeof info);
	SHOW(waitid, kind, id, &info, options, NULL);
	print("%x %x %x %x %x %x\n", info.si_signo, info.si_errno, info.si_code, info.si_pid, info.si_uid, info.si_status);
}

int main(void)
{
	wait_for(P_ALL, 0, WEXITED);
	wait_for(P_ALL, 0, 0);
	wait_for(77, 0, WEXITED);
	wait_for(P_PID, -1, WEXITED);
	wait_for(P_PIDFD, 99, WEXITED);
	SHOW(waitid, P_ALL, 0, NOWHERE, WEXITED, NULL);
	SHOW(waitid, 77, 0, NOWHERE, WEXITED, NULL);
	SHOW(waitid, P_ALL, 0, NULL, 0, NULL);
	SHOW(waitid, P_ALL, 0, NULL, WEXITED, NOWHERE);
	return 0;
}
