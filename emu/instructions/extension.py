"""Which extension of the instruction set an instruction belongs to that the emulated CPU has not."""

from __future__ import annotations

import re

#: Capstone's names of groups of instructions, in the spelling of the SDM and the APM.
_GROUPS = {
    "avx": "AVX", "avx2": "AVX2", "avx512": "AVX-512", "bmi": "BMI1", "bmi2": "BMI2", "tbm": "TBM", "fma": "FMA",
    "fma4": "FMA4", "fc16": "F16C", "xop": "XOP", "sha": "SHA", "adx": "ADX", "rtm": "RTM", "hle": "HLE",
    "3dnow": "3DNow!", "sse4a": "SSE4A", "cdi": "AVX-512", "eri": "AVX-512", "pfi": "AVX-512", "vlx": "AVX-512",
    "dqi": "AVX-512", "bwi": "AVX-512",
}  # fmt: skip
#: By what a mnemonic begins with, where there is no group.
_MNEMONICS = {
    "rdrand": "RDRAND", "rdseed": "RDSEED", "movbe": "MOVBE", "rdpid": "RDPID", "clwb": "CLWB",
    "clflushopt": "CLFLUSHOPT", "vfm": "FMA", "vfnm": "FMA", "lzcnt": "LZCNT", "xtest": "RTM", "xend": "RTM",
    "xabort": "RTM", "ptwrite": "PTWRITE", "rdfsbase": "FSGSBASE", "rdgsbase": "FSGSBASE", "wrfsbase": "FSGSBASE",
    "wrgsbase": "FSGSBASE", "rdpkru": "PKU", "wrpkru": "PKU", "gf2p8": "GFNI", "serialize": "SERIALIZE",
    "umonitor": "WAITPKG", "umwait": "WAITPKG", "tpause": "WAITPKG", "movdir": "MOVDIRI", "enqcmd": "ENQCMD",
    "clzero": "CLZERO", "monitorx": "MONITORX", "mwaitx": "MONITORX", "femms": "3DNow!", "xsavec": "XSAVEC",
}  # fmt: skip
#: VEX, EVEX and XOP instructions that are in no group.
_ENCODINGS = {0xC4: "AVX", 0xC5: "AVX", 0x62: "AVX-512", 0x8F: "XOP"}


def missing_extension(code: bytes, address: int) -> tuple[str, str] | None:
    """The instruction and its extension, for what the CPU refuses; None for what no CPU has, as UD2."""
    from capstone import CS_ARCH_X86, CS_MODE_64, Cs  # late: it takes longer than everything else

    decoder = Cs(CS_ARCH_X86, CS_MODE_64)
    decoder.detail = True
    instruction = next(decoder.disasm(code, address), None)
    if instruction is None:
        return None
    text = f"{instruction.mnemonic} {instruction.op_str}".strip()
    named = [_GROUPS[name] for group in instruction.groups if (name := instruction.group_name(group)) in _GROUPS]
    if not named:
        named = [name for start, name in _MNEMONICS.items() if instruction.mnemonic.startswith(start)]
    if not named:
        opcode = re.sub(rb"^[\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3]*", b"", bytes(instruction.bytes))
        named = [_ENCODINGS[opcode[0]]] if opcode[0] in _ENCODINGS else []
    return (text, named[0]) if named else None
