/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): a group is read at once, and counts while its leader is enabled. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

int main(void)
{
	u64 got[16];
	int leader = event(PERF_COUNT_SW_DUMMY, PERF_FORMAT_GROUP | PERF_FORMAT_ID, -1);
	int faults = event(PERF_COUNT_SW_PAGE_FAULTS, PERF_FORMAT_ID, leader);
	int minor = event(PERF_COUNT_SW_PAGE_FAULTS_MIN, PERF_FORMAT_GROUP | PERF_FORMAT_LOST, leader);
	u64 ids[3];
	MUST(ioctl, leader, PERF_EVENT_IOC_ID, ids);
	MUST(ioctl, faults, PERF_EVENT_IOC_ID, ids + 1);
	MUST(ioctl, minor, PERF_EVENT_IOC_ID, ids + 2);
	print("%d %d\n", ids[1] > ids[0], ids[2] > ids[1]);
	MUST(ioctl, faults, ENABLE, 0);
	touch(3);
	MUST(read, faults, got, 16);
	print("without the leader: %lu\n", got[0]);
	MUST(ioctl, leader, ENABLE, 0);
	touch(3);
	MUST(read, faults, got, 16);
	print("with it: %lu, its own number %d\n", got[0], got[1] == ids[1]);
	MUST(ioctl, leader, RESET, PERF_IOC_FLAG_GROUP);
	MUST(ioctl, leader, ENABLE, PERF_IOC_FLAG_GROUP);
	touch(4);
	MUST(ioctl, leader, DISABLE, PERF_IOC_FLAG_GROUP);
	touch(4);
	SHOW(read, leader, got, 55);
	SHOW(read, leader, got, 56);
	print("%lu: %lu %d, %lu %d, %lu %d\n", got[0], got[1], got[2] == ids[0], got[3], got[4] == ids[1], got[5],
	      got[6] == ids[2]);
	SHOW(read, minor, got, 128);
	print("%lu: %lu %lu, %lu %lu, %lu %lu\n", got[0], got[1], got[2], got[3], got[4], got[5], got[6]);
	SHOW(perf_event_open, &attr, 0, -1, faults, 0);
	attr.exclusive = 1;
	SHOW(perf_event_open, &attr, 0, -1, leader, 0);
	attr.exclusive = 0;
	attr.inherit = 1;
	SHOW(perf_event_open, &attr, 0, -1, leader, 0);
	attr.inherit = 0;
	SHOW(perf_event_open, &attr, 0, 0, leader, 0);
	SHOW(perf_event_open, &attr, 0, -1, 0, 0);
	SHOW(perf_event_open, &attr, 0, -1, 99, 0);
	SHOW(ioctl, leader, ENABLE, 0);
	SHOW(close, leader);
	SHOW(ioctl, faults, RESET, 0);
	SHOW(ioctl, faults, ENABLE, 0);
	touch(2);
	MUST(read, faults, got, 16);
	print("alone: %lu\n", got[0]);
	SHOW(read, minor, got, 128);
	print("%lu\n", got[0]);
	return 0;
}
