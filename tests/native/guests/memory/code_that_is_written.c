/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that are written, run, written again; and memory that may not be run. */
#include "native.h"

static void on_segv(int signo, siginfo_t *info)
{
	print("%s %d\n", signal_name(signo), info->si_code);
	leave(0);
}

int main(void)
{
	static const u8 code[] = { 0xb8, 7, 0, 0, 0, 0xc3 };
	u8 *p = (void *)MUST(mmap, 0, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*call)(void) = (int (*)(void))p;
	memcpy(p, code, sizeof(code));
	SAY(call());
	p[1] = 9;
	SAY(call());
	MUST(mprotect, p, PAGE, PROT_READ | PROT_EXEC);
	SAY(call());
	MUST(mprotect, p, PAGE, PROT_READ | PROT_WRITE);
	p[1] = 11;
	MUST(mprotect, p, PAGE, PROT_EXEC | PROT_READ);
	SAY(call());
	long pid = MUST(fork);
	if (!pid) {
		MUST(mprotect, p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
		p[1] = 13;
		SAY(call());
		leave(0);
	}
	reap(pid);
	SAY(call());
	handle(SIGSEGV, on_segv, SA_SIGINFO);
	MUST(mprotect, p, PAGE, PROT_READ);
	call();
	return 0;
}
