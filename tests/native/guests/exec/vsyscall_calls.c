/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three calls at fixed addresses work where the page can only be executed, and other uses of it are SIGSEGV. */
#include "native.h"

static long call(u64 offset, void *first, void *second)
{
	return ((long (*)(void *, void *, void *))(0xffffffffff600000 + offset))(first, second, NULL);
}

static void on_segv(int signo, siginfo_t *info, void *context)
{
	(void)context;
	print("%s code %d at %lx\n", signal_name(signo), info->si_code, (u64)info->si_addr);
	leave(0);
}

#define FAULT(what)                                                                               \
	do {                                                                                      \
		print(#what ": ");                                                                \
		long pid = MUST(fork);                                                            \
		if (!pid) {                                                                       \
			what;                                                                     \
			leave(1);                                                                 \
		}                                                                                 \
		reap(pid);                                                                        \
	} while (0)

int main(void)
{
	struct timeval tv = { 0, 0 };
	struct timezone zone = { 7, 7 };
	long seconds = 0;
	u32 cpu = 99999, node = 99999;

	handle(SIGSEGV, on_segv, SA_SIGINFO);
	SAY(call(0, &tv, &zone));
	SAY(tv.tv_sec > 1000000);
	SAY(zone.tz_minuteswest);
	SAY(call(0, NULL, NULL));
	SAY(call(0x400, &seconds, NULL) - tv.tv_sec <= 1);
	SAY(seconds - tv.tv_sec <= 1);
	SAY(call(0x400, NULL, NULL) > 1000000);
	SAY(call(0x800, &cpu, &node));
	SAY(cpu < 99999);
	SAY(node);
	SAY(call(0x800, NULL, NULL));
	FAULT(call(0, NOWHERE, NULL));
	FAULT(call(0x400, NOWHERE, NULL));
	FAULT(call(0x800, NULL, NOWHERE));
	FAULT(call(0xc00, NULL, NULL));
	FAULT(call(1, NULL, NULL));
	FAULT(call(PAGE, NULL, NULL));
	FAULT((void)*(volatile char *)0xffffffffff600000);
	FAULT(*(volatile char *)0xffffffffff600000 = 1);
	return 0;
}
