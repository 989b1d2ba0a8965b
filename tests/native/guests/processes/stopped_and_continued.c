/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIGSTOP and SIGCONT: what wait4(2), waitid(2) and SIGCHLD tell of them. */
#include "native.h"

static volatile int told, code, status_told;

static void chld(int signo UNUSED, siginfo_t *info, void *context UNUSED)
{
	told++;
	code = info->si_code;
	status_told = info->si_status;
}

static void wait_for(int pid, int options)
{
	int status = -1;
	long result;

	while ((result = SYS(wait4, pid, &status, options, NULL)) == -EINTR)
		;
	print("wait4 %s: %x\n", result == pid ? "child" : result_name(result), result ? status : 0);
}

static void waitid_for(int pid, int options)
{
	siginfo_t info;
	long result;

	memset(&info, 0x55, sizeof(info));
	while ((result = SYS(waitid, P_PID, pid, &info, options, NULL)) == -EINTR)
		;
	print("waitid %s: signo %d code %d status %d %s\n", result_name(result), info.si_signo, info.si_code,
	      info.si_status, info.si_pid == pid ? "child" : "nobody");
}

int main(void)
{
	int pid, status;

	handle(SIGCHLD, chld, SA_SIGINFO);
	if (!(pid = MUST(fork))) {
		for (;;)
			SYS(pause);
	}
	MUST(kill, pid, SIGSTOP);
	wait_for(pid, WUNTRACED);
	SAY(told);
	SAY(code == CLD_STOPPED && status_told == SIGSTOP);
	wait_for(pid, WUNTRACED | WNOHANG);
	MUST(kill, pid, SIGCONT);
	wait_for(pid, WCONTINUED);
	wait_for(pid, WCONTINUED | WNOHANG);
	MUST(kill, pid, SIGSTOP);
	waitid_for(pid, WSTOPPED | WNOWAIT);
	waitid_for(pid, WSTOPPED);
	waitid_for(pid, WSTOPPED | WNOHANG);
	MUST(kill, pid, SIGUSR1);
	wait_for(pid, WNOHANG);
	MUST(kill, pid, SIGKILL);
	waitid_for(pid, WEXITED | WNOWAIT);
	wait_for(pid, 0);
	SHOW(wait4, pid, &status, 0, NULL);
	SHOW(waitid, P_PID, 0, NULL, WEXITED, NULL);
	SHOW(waitid, P_PGID, -1, NULL, WEXITED, NULL);
	SHOW(waitid, P_ALL, 0, NULL, 0, NULL);
	SHOW(waitid, 9, 0, NULL, WEXITED, NULL);
	SHOW(wait4, -1, &status, WEXITED, NULL);
	SHOW(wait4, 1 << 31, &status, 0, NULL);
	handle(SIGCHLD, chld, SA_SIGINFO | SA_NOCLDSTOP);
	told = 0;
	if (!(pid = MUST(fork))) {
		SYS(kill, SYS(getpid), SIGSTOP);
		leave(7);
	}
	wait_for(pid, WUNTRACED);
	SAY(told);
	MUST(kill, pid, SIGCONT);
	wait_for(pid, 0);
	SAY(told);
	if (!(pid = MUST(fork)))
		leave(3);
	wait_for(pid, __WCLONE);
	wait_for(pid, __WALL);
	return 0;
}
