"""The names of the x86-64 system calls that have no row in a table, to name the call that a program made
(arch/x86/entry/syscalls/syscall_64.tbl).
"""

_NOT_IMPLEMENTED = """
134 uselib  154 modify_ldt  156 _sysctl  172 iopl  173 ioperm  174 create_module
175 init_module  176 delete_module  177 get_kernel_syms  178 query_module  180 nfsservctl  181 getpmsg  182 putpmsg
183 afs_syscall  184 tuxcall  185 security  205 set_thread_area  211 get_thread_area  212 lookup_dcookie
214 epoll_ctl_old  215 epoll_wait_old  236 vserver  246 kexec_load
298 perf_event_open  300 fanotify_init  301 fanotify_mark  313 finit_module  320 kexec_file_load  321 bpf
425 io_uring_setup  426 io_uring_enter  427 io_uring_register
444 landlock_create_ruleset  445 landlock_add_rule  446 landlock_restrict_self
459 lsm_get_self_attr  460 lsm_set_self_attr
461 lsm_list_modules  467 open_tree_attr
"""
_WORDS = _NOT_IMPLEMENTED.split()
NAMES = {int(number): name for number, name in zip(_WORDS[::2], _WORDS[1::2], strict=True)}


def name_of(number: int) -> str:
    """The name of a system call, or ``#NUMBER`` for a number that Linux does not use either."""
    return NAMES.get(number, f"#{number}")
