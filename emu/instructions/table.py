"""The table of instructions that the engine is not left alone with.

A machine finds the rows by :mod:`emu.instructions.catalogue`.
"""

from __future__ import annotations

from emu.instructions import alignment, alignment_check, computed, control, crossing, refused, unmasked
from emu.instructions.row import Row

#: One row a kind of instruction, by subject; where two rows match, the first one counts.  After a change of opcodes,
#: ``python -m emu.instructions`` writes :mod:`emu.instructions.listed` anew.
SUBJECTS: dict[str, tuple[Row, ...]] = {
    "refused": refused.ROWS,
    "control": control.ROWS,
    "unmasked": unmasked.ROWS,
    "computed": computed.ROWS,
    "alignment": alignment.ROWS,
    "alignment_check": alignment_check.ROWS,
    "crossing": crossing.ROWS,
}
ROWS: tuple[Row, ...] = tuple(row for rows in SUBJECTS.values() for row in rows)
