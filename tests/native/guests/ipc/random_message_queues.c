/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX message queues by chance: priorities, what fits, what is told. */
#include "native.h"

struct { long flags, maxmsg, msgsize, curmsgs, reserved[4]; } attr = { 0, 5, 16, 0, { 0 } }, old;

int main(void)
{
	static char text[64];
	SYS(mq_unlink, "native-random");
	int q = MUST(mq_open, "native-random", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
	int ro = MUST(mq_open, "native-random", O_RDONLY | O_NONBLOCK, 0, NULL);
	MUST(mq_unlink, "native-random");
	for (int line = 0; line < 60; line++) {
		for (int i = 0; i < 10; i++) {
			u32 prio = 99;
			struct pollfd p = { q, POLLIN | POLLOUT, 0 };
			long result;

			switch (chance(6)) {
			case 0:
			case 1:
				memset(text, 'a' + chance(26), sizeof(text));
				print(" s%ld", SYS(mq_timedsend, chance(9) ? q : ro, text, chance(18), chance(5), NULL));
				break;
			case 2:
			case 3:
				result = SYS(mq_timedreceive, chance(2) ? q : ro, text, chance(5) ? 16 : chance(20), &prio, NULL);
				print(" r%ld.%u.%c", result, prio, result > 0 ? text[0] : '-');
				break;
			case 4:
				MUST(mq_getsetattr, q, NULL, &old);
				print(" n%ld", old.curmsgs);
				break;
			default:
				MUST(poll, &p, 1, 0);
				print(" p%x", p.revents);
			}
		}
		print("\n");
	}
	return 0;
}
