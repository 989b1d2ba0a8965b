/* SPDX-License-Identifier: GPL-2.0-or-later */
// since: 6.18
// needs: root, transparent huge pages
/* /sys/kernel/mm/transparent_hugepage: words, rights, and what cannot be written. */
#include <sys/stat.h>

#include "thp.h"

#define PLACE "/sys/kernel/mm/transparent_hugepage/"

static void shown(const char *name)
{
	struct stat st;

	MUST(stat, name, &st);
	print("%s %o: ", name + sizeof(PLACE) - 1, st.st_mode);
	cat(name);
}

static void refused(const char *name, const char *text)
{
	int fd = MUST(open, name, O_WRONLY);

	print("%s: %s\n", text, result_name(SYS(write, fd, text, strlen(text))));
	MUST(close, fd);
}

int main(void)
{
	shown(PLACE "enabled");
	shown(PLACE "defrag");
	shown(PLACE "shmem_enabled");
	shown(PLACE "use_zero_page");
	shown(PLACE "shrink_underused");
	shown(PLACE "hpage_pmd_size");
	shown(PLACE "hugepages-2048kB/enabled");
	shown(PLACE "hugepages-2048kB/shmem_enabled");
	shown(PLACE "hugepages-16kB/enabled");
	shown(PLACE "hugepages-8kB/shmem_enabled");
	SAY(SYS(access, PLACE "hugepages-8kB/enabled", F_OK));
	SAY(SYS(access, PLACE "hugepages-4kB", F_OK));
	SAY(SYS(access, PLACE "hugepages-4096kB", F_OK));
	SAY(SYS(access, PLACE "hugepages-8kB/stats/anon_fault_alloc", F_OK));
	SAY(SYS(access, PLACE "hugepages-8kB/stats/split", F_OK));
	SAY(SYS(access, PLACE "hugepages-64kB/stats/nr_anon", F_OK));
	shown(PLACE "khugepaged/defrag");
	shown(PLACE "khugepaged/max_ptes_none");
	shown(PLACE "khugepaged/max_ptes_swap");
	shown(PLACE "khugepaged/max_ptes_shared");
	shown(PLACE "khugepaged/pages_to_scan");
	shown(PLACE "khugepaged/scan_sleep_millisecs");
	shown(PLACE "khugepaged/alloc_sleep_millisecs");
	refused(PLACE "enabled", "sometimes");
	refused(PLACE "enabled", "alway");
	refused(PLACE "enabled", "madvise ");
	refused(PLACE "enabled", "madvise\n");
	refused(PLACE "defrag", "inherit");
	refused(PLACE "shmem_enabled", "madvise");
	refused(PLACE "use_zero_page", "2");
	refused(PLACE "use_zero_page", "x");
	refused(PLACE "use_zero_page", "1");
	refused(PLACE "hugepages-2048kB/enabled", "force");
	refused(PLACE "hugepages-2048kB/shmem_enabled", "deny");
	refused(PLACE "khugepaged/max_ptes_none", "512");
	refused(PLACE "khugepaged/max_ptes_none", "511");
	refused(PLACE "khugepaged/max_ptes_swap", "512");
	refused(PLACE "khugepaged/pages_to_scan", "0");
	refused(PLACE "khugepaged/scan_sleep_millisecs", "-1");
	refused(PLACE "khugepaged/scan_sleep_millisecs", "10000x");
	refused(PLACE "khugepaged/defrag", "2");
	SHOW(open, PLACE "hpage_pmd_size", O_WRONLY);
	return 0;
}
