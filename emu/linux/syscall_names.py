"""The names of the x86-64 system calls that have no row in a table, to name the call that a program made
(arch/x86/entry/syscalls/syscall_64.tbl), and why Linux itself has none of these, where it has not.
"""

_NOT_IMPLEMENTED = """
134 uselib  156 _sysctl  172 iopl  173 ioperm  174 create_module
175 init_module  176 delete_module  177 get_kernel_syms  178 query_module  180 nfsservctl  181 getpmsg  182 putpmsg
183 afs_syscall  184 tuxcall  185 security  205 set_thread_area  211 get_thread_area  212 lookup_dcookie
214 epoll_ctl_old  215 epoll_wait_old  236 vserver  246 kexec_load
313 finit_module  320 kexec_file_load
"""
_WORDS = _NOT_IMPLEMENTED.split()
NAMES = {int(number): name for number, name in zip(_WORDS[::2], _WORDS[1::2], strict=True)}
#: Calls that a Linux 6.18 without an option does not have either, and the option.
_OPTIONS = {
    "X86_IOPL_IOPERM": (172, 173), "MODULES": (175, 176, 313), "KEXEC": (246,), "KEXEC_FILE": (320,),
}  # fmt: skip
#: Calls that no 64-bit Linux 6.18 has (sys_ni_syscall).
_GONE = frozenset({134, 156, 174, 177, 178, *range(180, 186), 205, 211, 212, 214, 215, 236})


def name_of(number: int) -> str:
    """The name of a system call, or ``#NUMBER`` for a number that Linux does not use either."""
    return NAMES.get(number, f"#{number}")


def why_not(number: int) -> str:
    """What to say of a call that there is not."""
    name = name_of(number)
    if name == f"#{number}":
        return f"system call {number} is not implemented: ENOSYS"
    option = next((option for option, numbers in _OPTIONS.items() if number in numbers), None)
    reason = "is not implemented"
    if option is not None:
        reason = f"is not there, as in a Linux without CONFIG_{option}"
    elif number in _GONE:
        reason = "is not there, as in Linux 6.18"
    return f"system call {number} ({name}) {reason}: ENOSYS"
