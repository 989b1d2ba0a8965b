"""/proc/vmstat: every line that Linux 6.18 has, in its order (mm/vmstat.c); those of KSM and of NUMA balancing are
absent, as from a kernel built without them.  What nothing here counts is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.proc.meminfo import node_figures, zone_figures

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

#: Of a zone.
OF_ZONE = """
    nr_free_pages nr_free_pages_blocks nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file
    nr_zone_active_file nr_zone_unevictable nr_zone_write_pending nr_mlock nr_zspages nr_free_cma
"""
#: Of a zone of a kernel that knows nodes.
NUMA_EVENTS = "numa_hit numa_miss numa_foreign numa_interleave numa_local numa_other"
#: Of a node.
OF_NODE = """
    nr_inactive_anon nr_active_anon nr_inactive_file
    nr_active_file nr_unevictable nr_slab_reclaimable nr_slab_unreclaimable nr_isolated_anon nr_isolated_file
    workingset_nodes workingset_refault_anon workingset_refault_file workingset_activate_anon
    workingset_activate_file workingset_restore_anon workingset_restore_file workingset_nodereclaim nr_anon_pages
    nr_mapped nr_file_pages nr_dirty nr_writeback nr_shmem nr_shmem_hugepages nr_shmem_pmdmapped nr_file_hugepages
    nr_file_pmdmapped nr_anon_transparent_hugepages nr_vmscan_write nr_vmscan_immediate_reclaim nr_dirtied
    nr_written nr_throttled_written nr_kernel_misc_reclaimable nr_foll_pin_acquired nr_foll_pin_released
    nr_kernel_stack nr_page_table_pages nr_sec_page_table_pages nr_iommu_pages nr_swapcached pgdemote_kswapd
    pgdemote_direct pgdemote_khugepaged pgdemote_proactive nr_hugetlb nr_balloon_pages nr_kernel_file_pages
"""
_OF_NODE = f"{OF_ZONE} {NUMA_EVENTS} {OF_NODE}"
#: Only of the whole machine.
_OF_MACHINE = """
    nr_dirty_threshold nr_dirty_background_threshold nr_memmap_pages nr_memmap_boot_pages pgpgin pgpgout pswpin
    pswpout pgalloc_dma pgalloc_dma32 pgalloc_normal pgalloc_movable pgalloc_device allocstall_dma allocstall_dma32
    allocstall_normal allocstall_movable allocstall_device pgskip_dma pgskip_dma32 pgskip_normal pgskip_movable
    pgskip_device pgfree pgactivate pgdeactivate pglazyfree pgfault pgmajfault pglazyfreed pgrefill pgreuse
    pgsteal_kswapd pgsteal_direct pgsteal_khugepaged pgsteal_proactive pgscan_kswapd pgscan_direct pgscan_khugepaged
    pgscan_proactive pgscan_direct_throttle pgscan_anon pgscan_file pgsteal_anon pgsteal_file zone_reclaim_success
    zone_reclaim_failed pginodesteal slabs_scanned kswapd_inodesteal kswapd_low_wmark_hit_quickly
    kswapd_high_wmark_hit_quickly pageoutrun pgrotated drop_pagecache drop_slab oom_kill pgmigrate_success
    pgmigrate_fail thp_migration_success thp_migration_fail thp_migration_split compact_migrate_scanned
    compact_free_scanned compact_isolated compact_stall compact_fail compact_success compact_daemon_wake
    compact_daemon_migrate_scanned compact_daemon_free_scanned htlb_buddy_alloc_success htlb_buddy_alloc_fail
    unevictable_pgs_culled unevictable_pgs_scanned unevictable_pgs_rescued unevictable_pgs_mlocked
    unevictable_pgs_munlocked unevictable_pgs_cleared unevictable_pgs_stranded thp_fault_alloc thp_fault_fallback
    thp_fault_fallback_charge thp_collapse_alloc thp_collapse_alloc_failed thp_file_alloc thp_file_fallback
    thp_file_fallback_charge thp_file_mapped thp_split_page thp_split_page_failed thp_deferred_split_page
    thp_underused_split_page thp_split_pmd thp_scan_exceed_none_pte thp_scan_exceed_swap_pte
    thp_scan_exceed_share_pte thp_split_pud thp_zero_page_alloc thp_zero_page_alloc_failed thp_swpout
    thp_swpout_fallback balloon_inflate balloon_deflate balloon_migrate swap_ra swap_ra_hit swpin_zero swpout_zero
    zswpin zswpout zswpwb direct_map_level2_splits direct_map_level3_splits direct_map_level2_collapses
    direct_map_level3_collapses nr_unstable
"""


def _events(kernel: Kernel) -> dict[str, int]:
    groups = {task.group for task in kernel.tasks.values()}
    usages = [usage for group in groups for usage in (group.usage(), group.children_usage)]
    minor, major = sum(usage.min_flt for usage in usages), sum(usage.maj_flt for usage in usages)
    context = kernel.mm_context
    of_lru = kernel.reclaim.lru.events if context.swap.areas.active else {}
    faults = {"pgfault": minor + major, "pgmajfault": major, "oom_kill": kernel.oom.kills}
    return faults | context.thp.events | context.swap.events | of_lru | kernel.frames.events


def _text(names: str, figures: dict[str, int]) -> bytes:
    return "".join(f"{name} {figures.get(name, 0)}\n" for name in names.split()).encode()


def vmstat(kernel: Kernel) -> bytes:
    """The file."""
    frames = kernel.frames.total
    figures = {**zone_figures(kernel), **node_figures(kernel), **_events(kernel)}
    figures |= {"nr_dirty_threshold": frames // 5, "nr_dirty_background_threshold": frames // 10}
    return _text(_OF_NODE + _OF_MACHINE, figures)


def node_vmstat(kernel: Kernel) -> bytes:
    """/sys/devices/system/node/node0/vmstat."""
    return _text(_OF_NODE, {**zone_figures(kernel), **node_figures(kernel)})
