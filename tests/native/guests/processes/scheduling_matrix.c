/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each class with each priority, for root and for a user. */
// needs: root
#include "native.h"

static void all(const char *who)
{
	static const int priorities[] = { -1, 0, 1, 50, 99, 100 };

	for (int policy = -1; policy < 9; policy += policy == 6 ? 2 : 1) { /* 7 is SCHED_EXT, which few have */
		print("%s %d:", who, policy);
		for (u32 i = 0; i < COUNT(priorities); i++) {
			struct { int priority; } param = { priorities[i] };
			long pid = MUST(fork);

			if (!pid) {
				long result = SYS(sched_setscheduler, 0, policy, &param);
				int now = -1;

				SYS(sched_getparam, 0, &now);
				print(" %s/%ld/%d", result_name(result), SYS(sched_getscheduler, 0), now);
				leave(0);
			}
			MUST(wait4, pid, NULL, 0, NULL);
		}
		print("\n");
	}
}

int main(void)
{
	struct rlimit none = { 0, 0 };
	all("root");
	MUST(setrlimit, RLIMIT_RTPRIO, &none);
	become(1000);
	all("user");
	return 0;
}
