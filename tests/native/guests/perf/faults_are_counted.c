/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): page faults are counted while the event is enabled, and RESET begins anew. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

int main(void)
{
	int all = event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1), minor = event(PERF_COUNT_SW_PAGE_FAULTS_MIN, 0, -1);
	int major = event(PERF_COUNT_SW_PAGE_FAULTS_MAJ, 0, -1);
	u64 value;
	touch(10);
	print("%lu %lu %lu\n", count(all), count(minor), count(major));
	SHOW(ioctl, all, ENABLE, 0);
	SHOW(ioctl, minor, ENABLE, 0);
	SHOW(ioctl, major, ENABLE, 0);
	touch(10);
	print("%lu %lu %lu\n", count(all), count(minor), count(major));
	SHOW(ioctl, all, DISABLE, 0);
	touch(5);
	print("%lu %lu %lu\n", count(all), count(minor), count(major));
	SHOW(ioctl, all, ENABLE, 0);
	touch(5);
	print("%lu %lu\n", count(all), count(minor));
	SHOW(ioctl, all, RESET, 0);
	touch(3);
	print("%lu %lu\n", count(all), count(minor));
	char *fresh = anonymous(2 * PAGE, MAP_PRIVATE);
	SYS(madvise, fresh, 2 * PAGE, MADV_NOHUGEPAGE);
	MUST(read, all, fresh, 8);
	print("in the kernel: %lu %lu\n", count(all), count(minor));
	MUST(madvise, fresh + PAGE, PAGE, 23 /* MADV_POPULATE_WRITE */);
	print("populated: %lu %lu\n", count(all), count(minor));
	SHOW(read, all, &value, 7);
	SHOW(read, all, NOWHERE, 8);
	SHOW(read, all, &value, 100);
	SHOW(close, all);
	SHOW(ioctl, all, ENABLE, 0);
	return 0;
}
