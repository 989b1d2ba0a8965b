/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AT_SYSINFO_EHDR points at an ELF image with versioned functions and unwind tables, and they tell the time. */
#include "native.h"

#include <elf.h>

static const Elf64_Ehdr *image;
static const Elf64_Sym *symbols;
static const char *strings;
static const u32 *hash;

static void *lookup(const char *name)
{
	for (u32 i = 0; i < hash[1]; i++)
		if (same(strings + symbols[i].st_name, name))
			return (char *)image + symbols[i].st_value;
	return NULL;
}

static void look(const Elf64_Phdr *segment)
{
	const Elf64_Dyn *entry = (void *)((char *)image + segment->p_vaddr);

	for (; entry->d_tag != DT_NULL; entry++) {
		void *at = (char *)image + entry->d_un.d_ptr;

		if (entry->d_tag == DT_SYMTAB)
			symbols = at;
		else if (entry->d_tag == DT_STRTAB)
			strings = at;
		else if (entry->d_tag == DT_HASH)
			hash = at;
		else if (entry->d_tag == DT_VERDEF)
			SAY(((Elf64_Verdef *)at)->vd_version);
	}
	for (entry = (void *)((char *)image + segment->p_vaddr); entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_SONAME)
			print("soname %s\n", strings + entry->d_un.d_val);
}

static void compare(const char *name, int clock)
{
	int (*function)(int, struct timespec *) = lookup(name);
	struct timespec before, now, after;

	SYS(clock_gettime, clock, &before);
	SAY(function(clock, &now));
	SYS(clock_gettime, clock, &after);
	long first = before.tv_sec * 1000000000 + before.tv_nsec, last = after.tv_sec * 1000000000 + after.tv_nsec;
	long there = now.tv_sec * 1000000000 + now.tv_nsec;
	print("%s(%d) is %s\n", name, clock, first <= there && there <= last ? "between" : "elsewhere");
}

int main(int argc, char **argv, char **envp)
{
	static const char *const names[] = { "__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu",
					     "__vdso_clock_getres", "clock_gettime", "gettimeofday", "time", "getcpu",
					     "clock_getres", "no such" };
	const Elf64_auxv_t *aux;

	(void)argc, (void)argv;
	while (*envp++)
		;
	for (aux = (void *)envp; aux->a_type != AT_SYSINFO_EHDR; aux++)
		;
	image = (void *)aux->a_un.a_val;
	SAY(memcmp(image->e_ident, ELFMAG, SELFMAG));
	SAY(image->e_type);
	SAY(image->e_machine);
	const Elf64_Phdr *segments = (void *)((char *)image + image->e_phoff);
	for (int i = 0; i < image->e_phnum; i++) {
		print("segment %x, rights %x\n", segments[i].p_type, segments[i].p_flags);
		if (segments[i].p_type == PT_DYNAMIC)
			look(segments + i);
	}
	for (u32 i = 0; i < COUNT(names); i++)
		print("%s: %s\n", names[i], lookup(names[i]) ? "there" : "missing");
	for (int clock = 0; clock < 12; clock++)
		if (clock < 5 || clock == 7 || clock == 11)
			compare("__vdso_clock_gettime", clock);
	int (*gettime)(int, struct timespec *) = lookup("__vdso_clock_gettime");
	int (*getres)(int, struct timespec *) = lookup("__vdso_clock_getres");
	long (*time)(long *) = lookup("__vdso_time");
	long (*getcpu)(u32 *, u32 *, void *) = lookup("__vdso_getcpu");
	int (*timeofday)(struct timeval *, struct timezone *) = lookup("__vdso_gettimeofday");
	struct timespec ts = { 0, 0 };
	struct timeval tv = { 0, 0 };
	struct timezone zone = { 7, 7 };
	u32 cpu = 99999, node = 99999;
	SAY(gettime(77, &ts));
	SAY(getres(77, &ts));
	SAY(getres(CLOCK_MONOTONIC, &ts));
	SAY(ts.tv_nsec);
	SAY(getres(CLOCK_MONOTONIC_COARSE, &ts));
	SAY(ts.tv_nsec);
	SAY(getres(CLOCK_TAI, NULL));
	SAY(timeofday(&tv, &zone));
	SAY(zone.tz_minuteswest);
	SAY(timeofday(NULL, NULL));
	SAY(time(NULL) - tv.tv_sec <= 1);
	SAY(getcpu(&cpu, &node, NULL));
	SAY(cpu < 99999);
	SAY(node);
	SAY(getcpu(NULL, NULL, NULL));
	return 0;
}
