"""The x87 and SSE state as FXSAVE lays it out, against the engine's own register calls."""

from __future__ import annotations

import random
from typing import Any

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn import x86_const as x86

from emu.engine.fpu import FXSAVE_BYTES, INITIAL_FCW, INITIAL_MXCSR, Fpu

_ST, _XMM, _SOFTWARE = 32, 160, 416


def image_of(draw: random.Random) -> bytes:
    """An image with a value in every field that is kept."""
    image = bytearray(draw.randbytes(FXSAVE_BYTES))
    image[5:24] = bytes(19)  # FOP, FIP and FDP
    image[26:32] = b"\0\0\xff\xff\0\0"
    for n in range(8):
        image[_ST + 16 * n + 10 : _ST + 16 * n + 16] = bytes(6)
    image[_SOFTWARE:] = bytes(FXSAVE_BYTES - _SOFTWARE)
    return bytes(image)


def registers(uc: Any) -> dict[str, Any]:
    """What uc_reg_read says."""
    names = ("FPSW", "FPCW", "MXCSR", *(f"FP{n}" for n in range(8)), *(f"XMM{n}" for n in range(16)))
    return {name: uc.reg_read(getattr(x86, f"UC_X86_REG_{name}")) for name in names}


@pytest.mark.parametrize("seed", range(20))
def test_an_image_is_what_the_engine_s_registers_say(seed: int) -> None:
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(0, 0x1000)  # the engine is made now
    fpu, image = Fpu(uc), image_of(random.Random(seed))
    fpu.load(image)
    assert fpu.save() == image
    found, top = registers(uc), image[3] >> 3 & 7
    assert found["FPSW"] == int.from_bytes(image[2:4], "little")
    assert found["FPCW"] == int.from_bytes(image[:2], "little")
    assert found["MXCSR"] == int.from_bytes(image[24:26], "little")
    for n in range(8):  # ST(0) lies first, the engine has physical numbers
        at = _ST + 16 * ((n - top) % 8)
        assert found[f"FP{n}"] == (
            int.from_bytes(image[at : at + 8], "little"), int.from_bytes(image[at + 8 : at + 10], "little"),
        )  # fmt: skip
    for n in range(16):
        assert found[f"XMM{n}"] == int.from_bytes(image[_XMM + 16 * n : _XMM + 16 * n + 16], "little")
    empty = int(uc.reg_read(x86.UC_X86_REG_FPTAG))
    assert image[4] == sum(1 << n for n in range(8) if empty >> 2 * n & 3 != 3)


def test_what_calls_have_written_is_saved() -> None:
    """And a control word that is new to the engine is one that its arithmetic follows."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(0, 0x1000)
    uc.mem_write(0, bytes.fromhex("d9e8d9ebdef9"))  # FLD1; FLDPI; FDIVP
    fpu = Fpu(uc)
    fpu.reset()
    assert registers(uc)["FPCW"] == INITIAL_FCW and registers(uc)["MXCSR"] == INITIAL_MXCSR
    quotients = set()
    for control in (0x37F, 0x07F, 0xF7F):
        fpu.reset()
        image = bytearray(fpu.save())
        image[:2] = control.to_bytes(2, "little")
        fpu.load(bytes(image))
        uc.emu_start(0, 6)
        saved = fpu.save()
        assert saved[:2] == control.to_bytes(2, "little") and saved[4] == 0x80 and saved[3] >> 3 & 7 == 7
        quotients.add(saved[_ST : _ST + 10])
    assert len(quotients) == 3
