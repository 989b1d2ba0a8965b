"""Records are dataclasses to everybody who asks, though they are made in another way."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any, ClassVar

import pytest

from mmu.record import field, record, replace


def _both(decorate: Any, field: Any) -> tuple[Any, Any]:
    @decorate(frozen=True)
    class Frozen:
        """Says what it is."""

        first: int
        second: str = "2"
        shared: ClassVar[int] = 7
        third: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError("negative")

    @decorate(eq=False, repr=False)
    class Plain:
        first: int
        found: dict[int, int] = field(init=False)
        second: Any = None

    return Frozen, Plain


@pytest.fixture(params=[(record, field), (dataclasses.dataclass, dataclasses.field)], ids=["record", "dataclass"])
def classes(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return _both(*request.param)


def test_values_are_kept_and_compared(classes: tuple[Any, Any]) -> None:
    frozen, plain = classes
    assert (frozen(1).second, frozen(1, third=[3]).third, frozen.shared) == ("2", [3], 7)
    assert frozen(1).third is not frozen(1).third
    assert frozen(1) == frozen(1, "2", []) != frozen(2)
    assert frozen(1) != plain(1)
    assert plain(1) != plain(1)
    assert hash(frozen(1, third=())) == hash(frozen(1, third=()))
    assert frozen.__match_args__ == ("first", "second", "third")
    assert repr(frozen(1)).endswith("Frozen(first=1, second='2', third=[])")
    assert repr(plain(1)).endswith(">")


def test_what_is_wrong_is_refused(classes: tuple[Any, Any]) -> None:
    frozen, plain = classes
    wrong: list[tuple[Any, list[int], dict[str, Any]]] = [
        (frozen, [], {}), (frozen, [1], {"nothing": 2}), (plain, [1, 2, 3], {}), (plain, [1], {"found": {}}),
    ]  # fmt: skip
    for each, arguments, named in wrong:
        with pytest.raises(TypeError):
            each(*arguments, **named)
    with pytest.raises(ValueError, match="negative"):
        frozen(-1)
    one = frozen(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.first = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.first
    with pytest.raises(AttributeError):
        plain(1).found  # noqa: B018


def test_dataclasses_takes_them(classes: tuple[Any, Any]) -> None:
    assert all(map(dataclasses.is_dataclass, classes))
    frozen, plain = classes
    assert [each.name for each in dataclasses.fields(frozen)] == ["first", "second", "third"]
    assert [each.init for each in dataclasses.fields(plain)] == [True, False, True]
    assert dataclasses.asdict(frozen(1)) == {"first": 1, "second": "2", "third": []}
    assert dataclasses.replace(frozen(1), second="3") == frozen(1, "3")
    assert list(inspect.signature(frozen).parameters) == ["first", "second", "third"]
    assert frozen.__doc__ == "Says what it is."


def test_replace() -> None:
    frozen, _ = _both(record, field)
    assert replace(frozen(1), second="3") == frozen(1, "3")
    with pytest.raises(ValueError, match="negative"):
        replace(frozen(1), first=-1)


@record()
class Kept:
    number: int
    more: list[int] = field(default_factory=list)


def test_they_are_copied_and_kept() -> None:
    one = Kept(1, [2])
    assert copy.copy(one) == pickle.loads(pickle.dumps(one)) == one
    assert copy.copy(one).more is one.more
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
