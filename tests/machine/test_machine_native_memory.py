"""Calls on memory against a Linux host: the same script, the same results and the same lines of /proc/self/maps."""

from __future__ import annotations

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import host_is, needs_host

A = "@a = say 0x10000000000"
VM_LCK = 'field "/proc/self/status" "VmLck"'
# The lines of maps are those of Linux 6.10 and later; earlier kernels merge less.
SCRIPTS = {
    "mprotect splits and merges": f"""
        {A}; @mmap a 32K RW PRIVATE|MAP_FIXED -1 0; maps a 32K; mprotect a+8K 8K PROT_READ; maps a 32K
        mprotect a+8K 8K RW; maps a 32K; mprotect a+4K 8K PROT_NONE; mprotect a+8K 8K PROT_NONE; maps a 32K
        store a+20K 1; mprotect a 32K PROT_READ; maps a 32K; mprotect a+16K 16K RW; mprotect a 16K RW; maps a 32K""",
    "a right to write that was never used leaves no trace": f"""
        {A}; @mmap a 4K PROT_READ PRIVATE|MAP_FIXED -1 0; @mmap a+4K 4K RW PRIVATE|MAP_FIXED -1 0; maps a 8K
        mprotect a 4K RW; maps a 8K; mprotect a 8K PROT_READ; @mmap a+8K 4K PROT_READ PRIVATE|MAP_FIXED -1 0
        maps a 16K; mprotect a 8K RW; store a 1; mprotect a 8K PROT_READ; maps a 16K""",
    "files and shared memory merge in order": f"""
        {A}; @m = memfd_create "m" 0; @ftruncate m 64K; @mmap a 4K RW MAP_SHARED|MAP_FIXED m 0
        @mmap a+4K 4K RW MAP_SHARED|MAP_FIXED m 4K; maps a 16K; @mmap a+8K 4K RW MAP_SHARED|MAP_FIXED m 4K; maps a 16K
        @mmap a 16K RW ANON|MAP_FIXED -1 0; maps a 16K; mprotect a 4K PROT_READ; maps a 16K; mprotect a 4K RW
        maps a 16K; @mmap a+16K 16K RW ANON|MAP_FIXED -1 0; maps a 32K
        @z = open "/dev/zero" O_RDWR; @mmap a 8K RW MAP_PRIVATE|MAP_FIXED z 0
        @mmap a+8K 8K RW MAP_PRIVATE|MAP_FIXED z 8K; maps a 32K""",
    "mremap and maps": f"""
        {A}; @mmap a 16K RW PRIVATE|MAP_FIXED -1 0; @mremap a 4K 4K 3 a+64K; maps a 128K; store a+4K 1
        @mremap a+4K 4K 4K 3 a+68K; maps a 128K; @mremap a+64K 4K 4K 3 a+72K; maps a 128K; load a+68K
        @mmap a 16K RW PRIVATE|MAP_FIXED -1 0; store a+4K 7; mremap a+4K 4K 8K 0; @mremap a+12K 4K 12K 0; maps a 64K""",
    "mremap that leaves the old mapping, and that doubles a shared one": f"""
        {A}; @mmap a 16K RW PRIVATE|MAP_FIXED -1 0; store a 7; mremap a 4K 4K 5 0; mremap a 4K 8K 5 0
        mremap a 4K 4K 4 0
        @q = mremap a 4K 4K 7 a+64K; load q; load a; maps a 128K; mremap a 0 4K 1; mremap a 0 4K 0
        @m = memfd_create "m" 0; @ftruncate m 16K; @s = mmap a 16K RW MAP_SHARED|MAP_FIXED m 0; store s+4K 9
        @q = mremap s+4K 0 8K 1; load q; store q 8; load s+4K; @q = mremap s+4K 4K 4K 7 a+64K; load a+64K; load s+4K
        maps a 128K""",
    "children have merges of their own": f"""
        {A}; @mmap a 16K RW PRIVATE|MAP_FIXED -1 0; store a 1; mprotect a+8K 8K PROT_READ
        @fork c; mprotect a+8K 8K RW; maps a 32K; @mmap a+16K 4K RW PRIVATE|MAP_FIXED -1 0; maps a 32K; end; wait c
        mprotect a+8K 8K RW; maps a 32K; @mmap a+16K 4K RW PRIVATE|MAP_FIXED -1 0; maps a 32K""",
    "the heap": """
        @a = brk 0; @a = brk a+4K; @b = brk 0; @mprotect b-4K 4K PROT_READ; @brk b+64K; maps b 64K
        mprotect b+8K 4K PROT_READ
        maps b 64K; @brk b+32K; maps b 64K; @mmap b+32K 8K RW PRIVATE|MAP_FIXED -1 0; maps b 64K; @c = brk b+64K
        say c-b; maps b 64K""",
    "advice that is a note": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; madvise a+8K 4K 1; maps a 64K; madvise a 64K 0; maps a 64K
        madvise a+8K 4K 2; maps a 64K; madvise a+8K 4K 1; madvise a+8K 4K 0; maps a 64K
        madvise a 4K 16; maps a 64K; madvise a 4K 17; madvise a 64K 20; madvise a 64K 21; madvise a 64K 3
        maps a 64K""",
    "advice for fork": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; madvise a+8K 4K 10; maps a 64K; store a 5; store a+4K 6
        @fork c; load a; load a+8K; end; wait c; madvise a 64K 11; maps a 64K
        madvise a 4K 18; @fork c; load a; load a+4K; store a 8; maps a 64K; @fork d; load a; end; wait d; end; wait c
        load a; madvise a 4K 19; maps a 64K; @fork c; load a; end; wait c""",
    "advice that is none": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; madvise a 4K 5; madvise a 4K 7; madvise a 4K 99; madvise a 4K -1
        madvise a+1 4K 4; madvise a -4K 4; madvise a 0 4; madvise a 0 99; madvise a -1 4; madvise -4K 8K 4
        madvise a 0x8000000000000000 4; madvise a+60K 8K 1; madvise a+60K 8K 4; madvise 64K 4K 1; maps a 64K""",
    "advice to populate": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; @v = bytes 32; madvise a+32K 8K 22; mincore a+32K 16K v; load v
        madvise a+40K 8K 23; madvise a+48K 64K 22; mprotect a+48K 4K PROT_NONE; madvise a+48K 4K 22
        mprotect a+48K 4K PROT_READ; madvise a+48K 4K 22; madvise a+48K 4K 23; mprotect a+48K 4K PROT_WRITE
        madvise a+48K 4K 22; madvise a+48K 4K 23; madvise a 0 22; madvise a+1 0 22; madvise a -1 23
        @m = memfd_create "m" 0; @ftruncate m 16K; @s = mmap 0 32K RW MAP_SHARED m 0; madvise s+16K 4K 22
        madvise s 32K 23; madvise s 16K 23""",
    "advice to throw away": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; store a 1; store a+4K 2; madvise a 4K 4; load a; load a+4K
        @m = memfd_create "m" 0; @ftruncate m 16K; @s = mmap 0 16K RW MAP_SHARED m 0; store s 1; store s+4K 2
        madvise s 4K 9; load s; load s+4K; madvise s 4K 8; madvise s 4K 18; madvise s 4K 4; load s+4K
        @q = mmap 0 16K RW MAP_PRIVATE m 0; store q+4K 3; madvise q 4K 9; madvise q 4K 8; madvise q+4K 4K 4; load q+4K
        @r = mmap 0 16K PROT_READ MAP_SHARED m 0; madvise r+4K 4K 9; load r+4K; madvise a 4K 9
        @t = mmap 0 16K RW ANON -1 0; store t 9; madvise t 4K 9; load t; store t 8; mprotect t 4K PROT_READ
        madvise t 4K 9; load t; pread m a 4 0; syscall 19 m 16 1""",
    "locking": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; @v = bytes 16; mlock a 4K; {VM_LCK}; maps a 64K; mincore a 8K v
        load v; madvise a 4K 4; madvise a 4K 24; madvise a 4K 8; madvise a 4K 20; madvise a 4K 21; madvise a 4K 9
        munlock a 4K; maps a 64K; mlock a+100 1; {VM_LCK}; munlock a+4000 200; {VM_LCK}
        mlock a 1G; {VM_LCK}; munlock a 1G; {VM_LCK}; mlock2 a 8K 1; mlock2 a 8K 2; {VM_LCK}; mincore a 8K v
        mlock a 0; mlock 0 4K; munlock 0 4K; mprotect a+48K 4K PROT_READ; mlock a+48K 4K; mprotect a+52K 4K PROT_NONE
        mlock a+52K 4K; {VM_LCK}; maps a 64K; mlock -4K 8K; mlock -1 -1; mlock a -1; munlock a -4K
        @m = memfd_create "m" 0; @ftruncate m 4K; @s = mmap 0 8K RW MAP_SHARED m 0; mlock s 8K; mlock s 4K
        madvise s 4K 9
        munlock a 64K; @fork c; {VM_LCK}; end; wait c; msync s 4K 2; munlock s 8K; {VM_LCK}
        msync s 4K 2; munlockall""",
    "locking everything": f"""
        mlockall 0; mlockall 4; mlockall 8; mlockall 2; @n = mmap 0 16K RW PRIVATE -1 0; {VM_LCK}; @v = bytes 8
        mincore n 16K v; load v; @b = brk 0; @brk b+8K; {VM_LCK}; mlockall 6; @o = mmap 0 16K RW PRIVATE -1 0; {VM_LCK}
        mincore o 16K v; load v; munlockall; {VM_LCK}; @n = mmap 0 16K RW PRIVATE|MAP_LOCKED -1 0; {VM_LCK}
        @n = mremap n 16K 32K 1; {VM_LCK}; mincore n 32K v; load v; munmap n 16K; {VM_LCK}; @fork c; {VM_LCK}; end
        wait c; mmap 0 16K PROT_NONE PRIVATE|MAP_LOCKED -1 0; munlockall; {VM_LCK}""",
    "limits of locked memory": f"""
        setuid 1000; @l = words 16384 16384; setrlimit 8 l; @n = mmap 0 64K RW PRIVATE -1 0; mlock n 16K; mlock n+16K 1
        mlock n 8K; mlock n+12K 8K; {VM_LCK}; munlock n 4K; mlock n+16K 4K; mmap 0 4K RW PRIVATE|MAP_LOCKED -1 0
        mlockall 1; mlockall 2; mmap 0 4K RW PRIVATE -1 0; mremap n+4K 4K 8K 1; munlockall
        @l = words 0 0; setrlimit 8 l; mlock n 4K; mlockall 2; mmap 0 4K RW PRIVATE|MAP_LOCKED -1 0; munlock n 4K
        @l = words 4096 4096; setrlimit 8 l; setrlimit 99 l; setrlimit 8 16; getrlimit 8 16; getrlimit 99 l
        @l = words 4096 1; setrlimit 9 l; prlimit 0 9 0 l; prlimit 99999999 9 0 l""",
    "limits of memory": """
        @o = bytes 16; @s = words 64M -1; prlimit 0 9 s o; load o; mmap 0 128M RW PRIVATE -1 0
        mmap 0 128M RW PRIVATE|MAP_NORESERVE -1 0; @p = mmap 0 4M RW PRIVATE -1 0; mremap p 4M 128M 1; @b = brk 0
        @c = brk b+128M; say c-b; prlimit 0 9 o 0; @d = words 8M -1; prlimit 0 2 d 0; mmap 0 16M RW PRIVATE -1 0
        @r = mmap 0 16M PROT_READ PRIVATE -1 0; mprotect r 16M RW; @s = mmap 0 16M RW ANON -1 0; store s 1
        @c = brk b+16M; say c-b; @fork c; mmap 0 16M RW PRIVATE -1 0; end; wait c""",
    "sealed mappings": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; store a 1; mseal a 8K 0; munmap a 4K; mprotect a 4K PROT_READ
        mmap a 4K RW PRIVATE|MAP_FIXED -1 0; mremap a 4K 8K 1; mremap a 8K 4K 0; madvise a 4K 4; load a; maps a 64K
        mseal a+1 4K 0; mseal a 4K 1; mseal a 1G 0; mseal a 0 0; mseal a -1 0; munmap a 64K; load a+32K
        mprotect a+60K 4K PROT_READ; mseal a+60K 4K 0; madvise a+60K 4K 4; madvise a+60K 4K 16; madvise a+60K 4K 10
        @q = mmap 0 4K RW PRIVATE -1 0; mremap q 4K 4K 3 a; store a 2; mlock a 4K; munlock a 4K; @fork c
        munmap a 4K; end; wait c""",
    "protection keys that cannot be had": f"""
        {A}; @mmap a 64K RW PRIVATE|MAP_FIXED -1 0; pkey_mprotect a 4K PROT_READ -1; store a 1; pkey_mprotect a 4K RW 3
        syscall 331 5; syscall 330 1 0""",
    "remap_file_pages": """
        @m = memfd_create "m" 0; @ftruncate m 32K; @s = mmap 0 32K RW MAP_SHARED m 0; store s 1; store s+4K 2
        remap_file_pages s 4K 0 1 0; load s; maps s 32K; remap_file_pages s 4K 1 1 0; remap_file_pages s 0 0 0 0
        remap_file_pages s 1G 0 0 0; @p = mmap 0 8K RW PRIVATE -1 0; remap_file_pages p 4K 0 1 0
        remap_file_pages s 4K 0 -1 0; remap_file_pages 64K 4K 0 0 0""",
    "futexes with nobody else": """
        @a = mmap 0 64K RW PRIVATE -1 0; @s = mmap 0 64K RW ANON -1 0; store a 5; store s 5; futex a 0 6 0
        futex a+1 0 6 0; futex a 1 1; futex a 129 1; futex a 99 1; futex 16 1 1; futex 16 129 1; futex a 10 1 0 0 0
        futex a 9 5 0 0 0; futex a 257 5 0; @t = words 0 1000; futex a 0 5 t; futex a 128 5 t; futex a 9 5 t 0 1
        futex s 0 5 t; @t2 = words -1 0; futex a 0 5 t2; @t3 = words 0 1000000000; futex a 0 5 t3; futex a 0 5 16
        futex a 4 1 1 a+64 6; futex a 4 1 1 a+64 5; futex a 3 -1 0 a+64; futex a 3 1 -1 a+64; futex a 3 1 1 16
        store a+64 7; futex a 5 1 1 a+64 0x04001007; load a+64; futex a 5 1 1 a+64 0x81002007; load a+64
        futex a 5 1 1 a+64 0x72001007; futex a 5 1 1 16 0; syscall 273 a 24; syscall 273 a 23; @b = bytes 16
        syscall 274 0 b b+8; load b+8; syscall 274 99999999 b b+8; futex -4 1 1; futex -4 129 1; futex 0 1 1""",
    "one's own memory as another process sees it": """
        @b = bytes 64; @me = getpid; @s = mmap 0 8K RW ANON -1 0; store s 5; @l = words b 8; @r = words s 8
        process_vm_readv me l 1 r 1 0; load b; @n = words 16 8; process_vm_readv me l 1 n 1 0
        process_vm_readv 99999999 l 1 r 1 0; process_vm_readv me l 1 r 1 1; process_vm_readv me l 2000 r 1 0
        process_vm_readv me 16 1 r 1 0; process_vm_readv me l 1 16 1 0; process_vm_readv me l 0 r 1 0
        @p = mmap 0 8K RW PRIVATE -1 0; munmap p+4K 4K; @e = words p+4K-8 16; @l = words b 16
        process_vm_readv me l 1 e 1 0; @r = words p 4 p+4K 8; @l = words b 32; process_vm_readv me l 1 r 2 0
        process_vm_writev me l 1 r 2 0; mprotect p 4K PROT_READ; process_vm_writev me l 1 r 1 0
        process_vm_readv me l 1 r 1 0; mprotect p 4K PROT_NONE; process_vm_readv me l 1 r 1 0; @h = words b -1
        process_vm_readv me h 1 r 1 0; process_vm_readv me l 1 h 1 0; process_vm_readv -1 l 1 r 1 0""",
    "/proc/self/mem": """
        @w = mmap 0 4K RW PRIVATE -1 0; @b = bytes 64; store w 1; mprotect w 4K PROT_READ
        f = open "/proc/self/mem" O_RDWR; pread f b 8 w; load b; store b 99; pwrite f b 8 w; load w; pread f b 8 16
        mprotect w 4K PROT_NONE; pread f b 8 w; load b; pwrite f b 8 w; load w; mprotect w 4K RW; load w
        @m = memfd_create "m" 0; @ftruncate m 8K; @z = mmap 0 8K PROT_READ MAP_SHARED m 0; pwrite f b 8 z; pread f b 8 z
        @q = mmap 0 8K PROT_READ MAP_PRIVATE m 0; pwrite f b 8 q; load q; load z; store q 1; pread f b 8 z+8K-4
        @x = mmap 0 8K PROT_NONE PRIVATE -1 0; pread f b 8 x; store b 5; pwrite f b 8 x+4K; mprotect x 8K PROT_READ
        load x; load x+4K; store x+4K 1; pread f b 8 -8; pread f b 0 w""",
    "vmsplice": """
        @w = mmap 0 4K RW PRIVATE -1 0; store w 99; @b = bytes 8; @f = bytes 8; @m = memfd_create "m" 0; pipe2 f 0
        @v = words w 8; vmsplice 5 v 1 0; read 4 b 8; load b; @n = words 16 8; vmsplice 5 n 1 0; vmsplice 5 v 1 99
        vmsplice m v 1 0; store b 3; write 5 b 8; vmsplice 4 v 1 0; load w; vmsplice 99 v 1 0; vmsplice 5 v 0 0
        vmsplice 5 v 2000 0; vmsplice 5 16 1 0""",
    "seals": """
        m = memfd_create "m" 0; fcntl m 1034; fcntl m 1033 2; @k = memfd_create "k" 2; @ftruncate k 8K; fcntl k 1034
        fcntl k 1033 2; ftruncate k 4K; ftruncate k 16K; ftruncate k 12K; ftruncate k 16K; fcntl k 1033 4
        ftruncate k 20K; pwrite k "abcdefgh" 8 16K; pwrite k "abcdefgh" 8 0; pwrite k "abcdefgh" 8 16380
        @big = bytes 5000; pwrite k big 5000 12280; fallocate k 0 0 20K; fallocate k 0 0 16K; fallocate k 3 0 4K
        fcntl k 1034; @s = mmap 0 4K RW MAP_SHARED k 0; fcntl k 1033 8; munmap s 4K
        @r = mmap 0 4K PROT_READ MAP_SHARED k 0; fcntl k 1033 8; munmap r 4K; @p = mmap 0 4K RW MAP_PRIVATE k 0
        fcntl k 1033 8; mmap 0 4K RW MAP_SHARED k 0; @r = mmap 0 4K PROT_READ MAP_SHARED k 0; mprotect r 4K RW
        pwrite k "a" 1 0; write k "a" 1; fallocate k 3 0 4K; store p 1; madvise r 4K 9; fcntl k 1034
        @f = memfd_create "f" 2; @ftruncate f 8K; @s = mmap 0 4K RW MAP_SHARED f 0; fcntl f 1033 0x10; store s 1
        mmap 0 4K RW MAP_SHARED f 0; pwrite f "a" 1 0; fcntl f 1033 1; fcntl f 1033 2; fcntl f 1034
        fcntl f 1033 0x100; mprotect s 4K PROT_READ; mprotect s 4K RW
        @x = memfd_create "x" 8; fcntl x 1034; syscall 91 x 0777; syscall 91 x 0666; syscall 91 x 0600
        @y = memfd_create "y" 2; fcntl y 1033 0x20; fcntl y 1034; syscall 91 y 0666; memfd_create "z" 0x18
        memfd_create "z" 0x100
        fcntl 0 1034; pipe2 big 0; d = open "/tmp" O_RDONLY; fcntl d 1034; fcntl d 1033 1; fcntl 99 1034
        fcntl m 1033 0x100""",
    "who a process is": """
        @b = bytes 64; syscall 118 b b+4 b+8; load b; setresuid 1000 1001 1002; syscall 118 b b+4 b+8; load b
        load b+8; setuid 1000; syscall 107; setuid 1002; setuid 5; setresuid -1 1001 -1; setresuid 7 -1 -1
        setreuid 1002 -1; setreuid 1000 1002; syscall 118 b b+4 b+8; load b; load b+8; setreuid -1 5
        syscall 118 16 b b
        @fork c; setgid 5; setresgid 1 2 3; setgroups 0 0; end; wait c; syscall 115 0 0; syscall 115 -1 0
        syscall 102; syscall 104""",
    "msync": f"""
        {A}; @mmap a 16K RW PRIVATE|MAP_FIXED -1 0; msync a 16K 4; msync a 4K 2; mlock a 4K; msync a 4K 2; msync a 4K 6
        msync a 4K 1; munlock a 4K; msync a+16K 4K 0; msync a 0 0; msync a -1 4; msync a 4K 7; msync a 4K 16""",
}


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str) -> None:
    if not host_is(6, 10):
        pytest.skip("the host's kernel is older than 6.10: it merges mappings otherwise, and has no mseal")
    here, there = machine().outcome("calls", SCRIPTS[name]), native(guests.path("calls"), [SCRIPTS[name]])
    assert with_statements(SCRIPTS[name], here.stdout) == with_statements(SCRIPTS[name], there.stdout)
    assert here[1:] == there[1:]


def with_statements(script: str, output: str) -> list[str]:
    """Each result beside its statement, without addresses that the kernel chose."""
    printed = [s.strip() for line in script.splitlines() for s in line.split(";")]
    printed = [s for s in printed if s and not s.startswith(("@", "end"))]
    results = [line if " = 0x7" not in line else line.split(" = ")[0] for line in output.splitlines()]
    assert len(printed) == len(results), f"{len(printed)} statements and {len(results)} results"
    return [f"{statement:<50} {result}" for statement, result in zip(printed, results, strict=True)]
