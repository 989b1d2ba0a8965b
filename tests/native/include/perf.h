/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Performance events: struct perf_event_attr as this project's guests need it. */
#ifndef PERF_H
#define PERF_H

#include <linux/perf_event.h>

#define ENABLE PERF_EVENT_IOC_ENABLE
#define DISABLE PERF_EVENT_IOC_DISABLE
#define RESET PERF_EVENT_IOC_RESET

static struct perf_event_attr attr;

/* A software event of this task, disabled, or the error. */
UNUSED static long event(u64 config, u64 format, int group)
{
	memset(&attr, 0, sizeof(attr));
	attr.type = PERF_TYPE_SOFTWARE;
	attr.size = 112;
	attr.config = config;
	attr.read_format = format;
	attr.disabled = 1;
	return SYS(perf_event_open, &attr, 0, -1, group, 0);
}

/* What is read of an event without a format. */
UNUSED static u64 count(int fd)
{
	u64 value = 0;

	MUST(read, fd, &value, sizeof(value));
	return value;
}

/* Writes to so many new pages. */
UNUSED static void touch(u32 pages)
{
	char *at = anonymous((pages + 1) * PAGE, MAP_PRIVATE);

	SYS(madvise, at, (pages + 1) * PAGE, MADV_NOHUGEPAGE);
	for (u32 n = 0; n < pages; n++)
		*(volatile char *)(at + n * PAGE) = 1;
}

#endif
