/* SPDX-License-Identifier: GPL-2.0-or-later */
/* modify_ldt(2): entries are made and read; its errors are numbers of 32 bits. */
#include "native.h"

struct desc { u32 number, base, limit, bits; };

static void entry(u32 number, u32 base, u32 limit, u32 bits, int how)
{
	struct desc d = { number, base, limit, bits };
	u64 table[8] = { 0 };
	print("%x %x %x %x: %ld", number, base, limit, bits, SYS(modify_ldt, how, &d, 16));
	print(", read %ld, %lx %lx\n", SYS(modify_ldt, 0, table, 64), table[0], table[number & 7]);
}

int main(void)
{
	u64 table[16] = { 1, 2, 3 };
	SHOW(modify_ldt, 0, table, 64);
	SHOW(modify_ldt, 0, NULL, 0);
	SHOW(modify_ldt, 2, table, 24);
	SHOW(modify_ldt, 2, table, 128);
	SHOW(modify_ldt, 2, NULL, 8);
	SHOW(modify_ldt, 3, table, 16);
	SHOW(modify_ldt, 1, table, 15);
	SHOW(modify_ldt, 1, NULL, 16);
	SHOW(modify_ldt, 0x11, NOWHERE, 16);
	entry(1, 0x12345678, 0xabcde, 0x51, 0x11);
	entry(2, 0x12345678, 0xabcde, 0x51, 1);
	entry(3, 0, 0xfffff, 0x05, 0x11);
	entry(4, 0, 0xfffff, 0x17, 0x11);
	entry(5, 0, 0xfffff, 0x27, 0x11);
	entry(5, 0, 0xfffff, 0x27, 1);
	entry(1, 0, 0, 0x28, 0x11);
	entry(2, 0, 0, 0x51, 1);
	entry(2, 0, 0, 0x51, 0x11);
	entry(8192, 0, 0, 0x28, 0x11);
	entry(7, 7, 7, 0xffffff39, 0x11);
	SHOW(modify_ldt, 0, NOWHERE, 16);
	memset(table, 0xff, sizeof(table));
	SHOW(modify_ldt, 0, table, 128);
	print("%lx %lx\n", table[3], table[15]);
	long child = MUST(fork);
	if (!child) {
		SHOW(modify_ldt, 0, table, 32);
		print("child: %lx\n", table[3]);
		entry(0, 1, 1, 0x51, 0x11);
		return 0;
	}
	reap(child);
	SHOW(modify_ldt, 0, table, 32);
	print("parent: %lx %lx\n", table[0], table[3]);
	return 0;
}
