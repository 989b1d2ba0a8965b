/* A TLB of two levels as a plugin of QEMU's user mode: what a TLB simulator for whole programs is without page tables.
 * Every load, every store and every block's fetch is looked up; there are no walks, rights, contexts or large pages.
 * Each array replaces the page that was used longest ago.
 *
 * Built by emu/bench/qemu_plugin.py, which defines L1D_SETS, L1D_WAYS, L1I_SETS, L1I_WAYS, L2_SETS and L2_WAYS; the sets
 * are powers of two.  The argument out=FILE has the counts written there, a line for loads, for stores and for fetches:
 * hits in the first level, in the second, misses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum kind { LOAD, STORE, FETCH, KINDS };

/* The page's number plus 1; 0 where the way is free. */
struct way {
	uint64_t page, used;
};

static struct way l1d[L1D_SETS][L1D_WAYS], l1i[L1I_SETS][L1I_WAYS], l2[L2_SETS][L2_WAYS];
static uint64_t now, counts[KINDS][3];
static const char *out;

static inline int find(struct way *set, int ways, uint64_t page)
{
	for (int i = 0; i < ways; i++) {
		if (set[i].page == page) {
			set[i].used = ++now;
			return 1;
		}
	}
	return 0;
}

static inline void install(struct way *set, int ways, uint64_t page)
{
	int oldest = 0;

	for (int i = 1; i < ways; i++) {
		if (set[i].used < set[oldest].used)
			oldest = i;
	}
	set[oldest].page = page;
	set[oldest].used = ++now;
}

static inline void look_up(struct way *first, int ways, uint64_t number, enum kind kind)
{
	struct way *second = l2[number % L2_SETS];

	if (find(first, ways, number + 1)) {
		counts[kind][0]++;
		return;
	}
	if (find(second, L2_WAYS, number + 1)) {
		counts[kind][1]++;
	} else {
		counts[kind][2]++;
		install(second, L2_WAYS, number + 1);
	}
	install(first, ways, number + 1);
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
	uint64_t number = vaddr >> 12;

	look_up(l1d[number % L1D_SETS], L1D_WAYS, number, qemu_plugin_mem_is_store(info) ? STORE : LOAD);
}

static void on_block(unsigned int vcpu, void *data)
{
	uint64_t number = (uintptr_t)data >> 12;

	look_up(l1i[number % L1I_SETS], L1I_WAYS, number, FETCH);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t length = qemu_plugin_tb_n_insns(tb);

	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
					     (void *)(uintptr_t)qemu_plugin_tb_vaddr(tb));
	for (size_t i = 0; i < length; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, NULL);
}

static void at_exit(qemu_plugin_id_t id, void *data)
{
	FILE *file = out ? fopen(out, "w") : NULL;

	if (!file)
		return;
	for (int kind = 0; kind < KINDS; kind++)
		fprintf(file, "%llu %llu %llu\n", (unsigned long long)counts[kind][0],
			(unsigned long long)counts[kind][1], (unsigned long long)counts[kind][2]);
	fclose(file);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4) == 0)
			out = argv[i] + 4;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
