/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children that stop, continue and end, and waiting for them in each way, by chance. */
#include "native.h"

#define CHILDREN 4
static long pids[CHILDREN];
static u8 stopped[CHILDREN];
static int which(long pid)
{
	for (int i = 0; i < CHILDREN; i++)
		if (pids[i] == pid)
			return i;
	return -1;
}
static void tell_status(long pid, int status)
{
	if (pid <= 0)
		print(" %ld", pid);
	else
		print(" c%d:%x", which(pid), status);
}
static long make(int i)
{
	long pid = MUST(fork);

	if (!pid) {
		if (i & 1)
			SYS(setpgid, 0, 0);
		for (;;)
			SYS(pause);
	}
	if (i & 1)
		SYS(setpgid, pid, pid);
	return pid;
}
static void change(int i)
{
	siginfo_t info;

	if (!pids[i]) {
		pids[i] = make(i);
		stopped[i] = 0;
		print(" new%d", i);
		return;
	}
	switch (chance(3)) {
	case 0:
		if (stopped[i])
			break;
		print(" stop%d=%ld", i, SYS(kill, pids[i], SIGSTOP));
		if (SYS(waitid, P_PID, pids[i], &info, WSTOPPED | WEXITED | WNOWAIT, NULL) == 0)
			stopped[i] = 1;
		break;
	case 1:
		if (!stopped[i])
			break;
		print(" continue%d=%ld", i, SYS(kill, pids[i], SIGCONT));
		SYS(waitid, P_PID, pids[i], &info, WCONTINUED | WEXITED | WNOWAIT, NULL);
		stopped[i] = 0;
		break;
	default:
		print(" end%d=%ld", i, SYS(kill, pids[i], SIGKILL));
		SYS(waitid, P_PID, pids[i], &info, WEXITED | WNOWAIT, NULL);
		stopped[i] = 0;
	}
}

int main(void)
{
	for (int line = 0; line < 100; line++) {
		change(chance(CHILDREN));
		if (chance(2))
			change(chance(CHILDREN));
		for (int i = 0; i < 3; i++) {
			int child = chance(CHILDREN), status = 0, options = WNOHANG;
			siginfo_t info;
			long pid, result;

			memset(&info, 0, sizeof(info));
			options |= chance(2) ? WUNTRACED : 0;
			options |= chance(2) ? WCONTINUED : 0;
			pid = chance(4) ? pids[child] : chance(2) ? -1 : chance(2) ? 0 : -pids[child];
			if (chance(2)) {
				result = SYS(wait4, pid, &status, options, NULL);
				tell_status(result, status);
				if (result > 0 && (WIFEXITED(status) || WIFSIGNALED(status)))
					pids[which(result)] = 0;
			} else {
				options |= chance(3) ? WEXITED : 0;
				options |= chance(2) ? WNOWAIT : 0;
				result = SYS(waitid, pid > 0 ? P_PID : pid == -1 ? P_ALL : P_PGID, pid > 0 ? pid : pid == -1 ? 0 : -pid, &info, options, NULL);
				print(" %ld/%d.%d.%d", result, info.si_pid ? which(info.si_pid) : -9, info.si_code, info.si_status);
				if (result == 0 && info.si_pid && !(options & WNOWAIT) && (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED))
					pids[which(info.si_pid)] = 0;
			}
		}
		print("\n");
	}
	for (int i = 0; i < CHILDREN; i++)
		if (pids[i])
			end_child(pids[i]);
	return 0;
}
