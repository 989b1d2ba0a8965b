/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf_event_open(2): a fault that ends in a handler is a page fault, and is neither minor nor major. */
// since: 6.18
// needs: root
#include "native.h"
#include "perf.h"

static char *page;

static void handler(int signo UNUSED)
{
	MUST(mprotect, page, PAGE, PROT_READ | PROT_WRITE);
}

int main(void)
{
	int all = event(PERF_COUNT_SW_PAGE_FAULTS, 0, -1), minor = event(PERF_COUNT_SW_PAGE_FAULTS_MIN, 0, -1);
	page = anonymous(PAGE, MAP_PRIVATE);
	*(volatile char *)page = 1;
	MUST(mprotect, page, PAGE, PROT_READ);
	handle(SIGSEGV, handler, 0);
	*(volatile char *)page = 2;
	MUST(mprotect, page, PAGE, PROT_READ);
	MUST(ioctl, all, ENABLE, 0);
	MUST(ioctl, minor, ENABLE, 0);
	*(volatile char *)page = 3;
	MUST(ioctl, all, DISABLE, 0);
	MUST(ioctl, minor, DISABLE, 0);
	print("%lu %lu\n", count(all), count(minor));
	return 0;
}
