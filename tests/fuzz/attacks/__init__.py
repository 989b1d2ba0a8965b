"""The attacks, by name."""

from __future__ import annotations

from tests.fuzz.attack import Attack
from tests.fuzz.attacks.cache import Cache
from tests.fuzz.attacks.code import Instructions
from tests.fuzz.attacks.dumps import Dumps
from tests.fuzz.attacks.elf import Elf
from tests.fuzz.attacks.frames import Frames
from tests.fuzz.attacks.handlers import Handlers, Threads
from tests.fuzz.attacks.races import Races
from tests.fuzz.attacks.scripts import Calls, CallsOfThreads
from tests.fuzz.attacks.traces import Traces
from tests.fuzz.attacks.words import Words

_ALL: tuple[Attack, ...] = (
    Elf(), Calls(), CallsOfThreads(), Handlers(), Threads(), Frames(), Instructions(), Races(), Traces(), Dumps(),
    Words(), Cache(),
)  # fmt: skip
ATTACKS = {attack.name: attack for attack in _ALL}
