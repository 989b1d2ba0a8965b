/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): exclude_user and exclude_kernel. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

int main(void)
{
	int fds[3];
	for (int n = 0; n < 3; n++) {
		event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1);
		attr.exclude_user = n == 1;
		attr.exclude_kernel = n == 2;
		fds[n] = MUST(perf_event_open, &attr, 0, -1, -1, 0);
	}
	char *fresh = anonymous(20 * PAGE, MAP_PRIVATE);
	MUST(madvise, fresh, 20 * PAGE, MADV_NOHUGEPAGE);
	for (int n = 0; n < 3; n++)
		MUST(ioctl, fds[n], ENABLE, 0);
	for (int n = 0; n < 4; n++)
		fresh[n * PAGE] = 1;
	for (int n = 4; n < 10; n++)
		MUST(getcwd, fresh + n * PAGE, 100);
	for (int n = 0; n < 3; n++)
		MUST(ioctl, fds[n], DISABLE, 0);
	for (int n = 0; n < 3; n++)
		print("%lu\n", count(fds[n]));
	return 0;
}
