/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bpf(2): what comes before rights, and what comes after. */
// since: 6.18
// needs: root
#include "native.h"

static u8 attr[256];

static void commands(void)
{
	u32 zero = 0, none = 100;
	SHOW(bpf, 0, attr, 4097);
	SHOW(bpf, 0, NULL, 128);
	attr[200] = 1;
	SHOW(bpf, 0, attr, 201);
	SHOW(bpf, 0, attr, 200);
	SHOW(bpf, 0, attr, 0);
	SHOW(bpf, 1, &none, 4);
	SHOW(bpf, 4, &none, 4);
	SHOW(bpf, 2, &zero, 4);
	SHOW(bpf, 5, attr, 128);
	SHOW(bpf, 7, attr, 128);
	u64 path = (u64)"nothing";
	SHOW(bpf, 7, &path, 8);
	SHOW(bpf, 13, &none, 4);
	SHOW(bpf, 14, &none, 4);
	SHOW(bpf, 22, &none, 4);
	SHOW(bpf, 1000, attr, 128);
	SHOW(bpf, -1, attr, 128);
	u32 unknown[8] = { 1000, 4, 4, 1 };
	SHOW(bpf, 0, unknown, 32);
	u64 code[1] = { 0x95 };
	u64 load[5] = { 1000 | 1UL << 32, (u64)code, (u64)"GPL" };
	SHOW(bpf, 5, load, 32);
}

int main(void)
{
	commands();
	become(1000);
	commands();
	return 0;
}
