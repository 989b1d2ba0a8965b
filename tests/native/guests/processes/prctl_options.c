/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prctl(2): what a process says of itself, and its errors. */
#include "native.h"
#include <linux/prctl.h>

int main(void)
{
	int number = -1;
	long word = 0;

	SHOW(prctl, PR_SET_PDEATHSIG, 65);
	SHOW(prctl, PR_SET_PDEATHSIG, SIGUSR1);
	SHOW(prctl, PR_GET_PDEATHSIG, &number);
	SAY(number);
	SHOW(prctl, PR_GET_PDEATHSIG, NOWHERE);
	SHOW(prctl, PR_SET_DUMPABLE, 2);
	SHOW(prctl, PR_SET_DUMPABLE, 0);
	SHOW(prctl, PR_GET_DUMPABLE);
	SHOW(prctl, PR_SET_KEEPCAPS, 2);
	SHOW(prctl, PR_SET_KEEPCAPS, 1);
	SHOW(prctl, PR_GET_KEEPCAPS);
	SHOW(prctl, PR_GET_TIMING);
	SHOW(prctl, PR_SET_TIMING, 1);
	SHOW(prctl, PR_GET_TSC, &number);
	SAY(number);
	SHOW(prctl, PR_SET_TSC, 3);
	SHOW(prctl, PR_GET_TIMERSLACK);
	SHOW(prctl, PR_SET_TIMERSLACK, 123);
	SHOW(prctl, PR_GET_TIMERSLACK);
	SHOW(prctl, PR_SET_TIMERSLACK, 0);
	SHOW(prctl, PR_GET_TIMERSLACK);
	SHOW(prctl, PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	SHOW(prctl, PR_MCE_KILL_GET, 0, 0, 0, 0);
	SHOW(prctl, PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0);
	SHOW(prctl, PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0);
	SHOW(prctl, PR_MCE_KILL, 7, 0, 0, 0);
	SHOW(prctl, PR_SET_CHILD_SUBREAPER, 5);
	SHOW(prctl, PR_GET_CHILD_SUBREAPER, &number);
	SAY(number);
	SHOW(prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
	SHOW(prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
	SHOW(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	SHOW(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	SHOW(prctl, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0);
	MUST(set_tid_address, &number);
	SHOW(prctl, PR_GET_TID_ADDRESS, &word);
	SAY(word == (long)&number);
	SHOW(prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);
	SHOW(prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
	SHOW(prctl, PR_GET_THP_DISABLE, 1, 0, 0, 0);
	SHOW(prctl, PR_CAPBSET_READ, 64);
	SHOW(prctl, PR_CAP_AMBIENT, 9, 0, 0, 0);
	SHOW(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0);
	SHOW(prctl, PR_SET_SECCOMP, 7);
	SHOW(prctl, PR_GET_SECCOMP);
	SHOW(prctl, PR_SET_MM, 99, 0, 1, 0);
	SHOW(prctl, PR_GET_FP_MODE, 0, 0, 0, 0);
	SHOW(prctl, 0);
	SHOW(prctl, -1);
	return 0;
}
