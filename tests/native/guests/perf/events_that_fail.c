/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): sizes, bits, kinds, CPUs, tasks. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

static void with_size(u32 size)
{
	u8 data[4200];
	memset(data, 0, sizeof(data));
	((struct perf_event_attr *)data)->type = 1;
	((struct perf_event_attr *)data)->config = PERF_COUNT_SW_DUMMY;
	((struct perf_event_attr *)data)->size = size;
	long fd = SYS(perf_event_open, data, 0, -1, -1, 0);
	print("size %u: %s, %u\n", size, result_name(fd), ((struct perf_event_attr *)data)->size);
	if (fd >= 0)
		MUST(close, fd);
	if (size > 136 && size < 4096) {
		data[size - 1] = 1;
		SHOW(perf_event_open, data, 0, -1, -1, 0);
	}
}

static void with_bit(int bit)
{
	event(PERF_COUNT_SW_DUMMY, 0, -1);
	((u64 *)&attr)[5] = 1UL << bit;
	long fd = SYS(perf_event_open, &attr, 0, -1, -1, 0);
	print("bit %d: %s\n", bit, result_name(fd));
	if (fd >= 0)
		MUST(close, fd);
}

int main(void)
{
	u32 sizes[] = { 0, 8, 56, 64, 72, 112, 136, 144, 4096, 4097, -1 };
	for (u32 n = 0; n < COUNT(sizes); n++)
		with_size(sizes[n]);
	for (int bit = 0; bit < 64; bit++)
		with_bit(bit);
	for (int bit = 0; bit < 8; bit++) {
		long fd = event(PERF_COUNT_SW_DUMMY, 1UL << bit, -1);
		print("format %d: %s\n", bit, result_name(fd));
		SYS(close, fd);
	}
	for (int config = 0; config < 14; config++) {
		long fd = event(config, 0, -1);
		print("event %d: %s\n", config, result_name(fd));
		SYS(close, fd);
	}
	event(PERF_COUNT_SW_DUMMY, 0, -1);
	SHOW(perf_event_open, NULL, 0, -1, -1, 0);
	SHOW(perf_event_open, &attr, 0, -1, -1, 16);
	SHOW(perf_event_open, &attr, 0, -1, -1, PERF_FLAG_PID_CGROUP);
	SHOW(perf_event_open, &attr, 0, 100000, -1, 0);
	SHOW(perf_event_open, &attr, 0, -2, -1, 0);
	SHOW(perf_event_open, &attr, -1, -1, -1, 0);
	SHOW(perf_event_open, &attr, 3999999, -1, -1, 0);
	DO(perf_event_open, &attr, 0, 0, -1, 0);
	DO(perf_event_open, &attr, -1, 0, -1, 0);
	attr.sample_type = 1UL << 25;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	attr.sample_type = 0;
	attr.sample_period = 1UL << 63;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	attr.freq = 1;
	attr.sample_freq = 2000000000;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	attr.freq = attr.sample_freq = 0;
	attr.type = 1000;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	attr.type = PERF_TYPE_RAW;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	event(PERF_COUNT_SW_DUMMY, 0, -1);
	int fd = MUST(perf_event_open, &attr, 0, -1, -1, 0);
	u64 word = 0;
	SHOW(ioctl, fd, PERF_EVENT_IOC_REFRESH, 1);
	SHOW(ioctl, fd, PERF_EVENT_IOC_PERIOD, &word);
	SHOW(ioctl, fd, PERF_EVENT_IOC_SET_OUTPUT, -1L);
	SHOW(ioctl, fd, PERF_EVENT_IOC_SET_OUTPUT, 1);
	SHOW(ioctl, fd, PERF_EVENT_IOC_SET_FILTER, "x");
	SHOW(ioctl, fd, PERF_EVENT_IOC_ID, NULL);
	SHOW(ioctl, fd, PERF_EVENT_IOC_PAUSE_OUTPUT, 1);
	SHOW(ioctl, fd, 0x24ff, 0);
	SHOW(write, fd, &word, 8);
	SHOW(lseek, fd, 0, 0);
	SHOW(pread64, fd, &word, 8, 0);
	become(1000);
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	attr.exclude_kernel = 1;
	SHOW(perf_event_open, &attr, 1, -1, -1, 0);
	SHOW(perf_event_open, &attr, -1, 0, -1, 0);
	SHOW(perf_event_open, &attr, -1, -1, -1, 0);
	DO(perf_event_open, &attr, 0, -1, -1, 0);
	attr.namespaces = 1;
	SHOW(perf_event_open, &attr, 0, -1, -1, 0);
	return 0;
}
