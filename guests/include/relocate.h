/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a static position-independent program has to do for itself: the kernel
 * loads it anywhere, so every address that the linker stored as data is still
 * relative to 0. Each such place has an R_X86_64_RELATIVE entry in .rela.dyn.
 *
 * This runs before any such address has been put right, so it uses none.
 */
#ifndef GUEST_RELOCATE_H
#define GUEST_RELOCATE_H

#include "linux.h"

#define DT_RELA 7
#define DT_RELASZ 8
#define R_X86_64_RELATIVE 8

struct dynamic {
	long tag;
	u64 value;
};

struct rela {
	u64 offset, info;
	long addend;
};

extern const struct dynamic _DYNAMIC[] __attribute__((visibility("hidden")));
extern const u8 __ehdr_start[] __attribute__((visibility("hidden")));

static inline void relocate(void)
{
	u64 base = (u64)__ehdr_start;
	const struct rela *rela = NULL;
	u64 size = 0;

	for (const struct dynamic *d = _DYNAMIC; d->tag; d++) {
		if (d->tag == DT_RELA)
			rela = (const struct rela *)(base + d->value);
		if (d->tag == DT_RELASZ)
			size = d->value;
	}
	for (u64 i = 0; i < size / sizeof(*rela); i++) {
		if ((u32)rela[i].info != R_X86_64_RELATIVE)
			sys_exit_group(127); /* the linker was not asked for any other kind */
		*(u64 *)(base + rela[i].offset) = base + rela[i].addend;
	}
}

#endif
