/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: transparent huge pages
/* process_vm_readv, /proc/self/mem by force, and a core of rights: others reach huge pages too. */
#include <sys/uio.h>

#include "thp.h"

int main(void)
{
	char *p = hugely(2, 0), *q = hugely(2, 0);
	struct iovec from = { p + 100 * PAGE, MIB2 / 2 }, to = { q + 400 * PAGE, MIB2 / 2 };
	int fd = MUST(open, "/proc/self/mem", O_RDWR), zero = MUST(open, "/dev/zero", O_RDONLY);
	char c = 'm';

	touch(p, 2 * HUGE);
	touch(q, 1);
	FAULTS(SYS(process_vm_readv, SYS(getpid), &to, 1, &from, 1, 0));
	state("read", q, 2 * HUGE);
	print("%d %d\n", q[400 * PAGE], q[655 * PAGE]);
	SHOW(mprotect, p, MIB2, PROT_READ);
	SHOW(pwrite64, fd, &c, 1, p + 9 * PAGE);
	state("forced", p, HUGE);
	print("%c\n", p[9 * PAGE]);
	MUST(fork) ? reap(-1) : leave(0);
	SHOW(pwrite64, fd, &c, 1, p + 10 * PAGE);
	state("forced after a fork", p, HUGE);
	SHOW(mprotect, p, MIB2, RW);
	state("writable", p, HUGE);
	FAULTS(SYS(read, zero, p + 400 * PAGE, 200 * PAGE));
	print("%d %d %d\n", p[399 * PAGE], p[400 * PAGE], p[600 * PAGE]);
	q = hugely(2, 0);
	FAULTS(SYS(read, zero, q + 400 * PAGE, 200 * PAGE));
	state("filled by a call", q, 2 * HUGE);
	return 0;
}
