/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process group that nobody is left to continue gets SIGHUP and SIGCONT, and SIGTSTP does not stop it. */
#include "native.h"
#include <linux/prctl.h>

static void hup(int signo UNUSED)
{
	print("SIGHUP\n");
}

static void cont(int signo UNUSED)
{
	print("SIGCONT\n");
}

int main(void)
{
	int leader, job, status;

	MUST(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!(leader = MUST(fork))) {
		MUST(setsid);
		if (!(job = MUST(fork))) {
			MUST(setpgid, 0, 0);
			handle(SIGHUP, hup, 0);
			handle(SIGCONT, cont, 0);
			MUST(kill, SYS(getpid), SIGSTOP);
			MUST(kill, SYS(getpid), SIGTSTP);
			print("nothing stops it now\n");
			leave(3);
		}
		MUST(wait4, job, &status, WUNTRACED, NULL);
		print("%x\n", status);
		leave(2);
	}
	MUST(wait4, leader, &status, 0, NULL);
	MUST(wait4, -1, &job, 0, NULL);
	print("leader %x, adopted %x\n", status, job);
	return 0;
}
