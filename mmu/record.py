"""Dataclasses that cost little where most of them are never made: what ``dataclasses`` offers, as far as we need it.

``dataclasses`` writes and compiles the methods of a class when the class is defined, and imports ``inspect``, with
parsers of Python, to write a docstring.  For all the records of a machine that takes as long as a short program runs.
Here ``__init__`` is compiled when the first instance is made, and the other methods are the same for all.  Such a
class is a dataclass to everybody who asks: :func:`dataclasses.fields`, ``replace`` and ``asdict`` take it, and what
they look for in it is made when they do.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

#: A field without a default.
_NONE = object()


class _Field:
    """What a class says of a field, by its annotation alone or by :func:`field`."""

    __slots__ = ("default", "default_factory", "init", "metadata", "name")

    def __init__(
        self, default: Any = _NONE, default_factory: Any = _NONE, init: bool = True, metadata: Any = None
    ) -> None:
        self.default, self.default_factory, self.init, self.metadata = default, default_factory, init, metadata
        self.name = ""

    def given(self) -> dict[str, Any]:
        """The arguments that make the same field with :func:`dataclasses.field`."""
        said = {"default": self.default, "default_factory": self.default_factory}
        defaults = {name: value for name, value in said.items() if value is not _NONE}
        return {"init": self.init, "metadata": self.metadata, **defaults}


class _Recipe:
    """From what the methods of a record are made."""

    def __init__(self, cls: type, *, eq: bool, frozen: bool) -> None:
        self.cls, self.eq, self.frozen = cls, eq, frozen
        own, annotations = vars(cls), cls.__annotations__
        said = {name: own.get(name, _NONE) for name in annotations if not annotations[name].startswith("ClassVar")}
        self.fields = {name: each if isinstance(each, _Field) else _Field(each) for name, each in said.items()}
        #: All values, to compare and to hash.
        self.values = attrgetter(*self.fields)
        for name, each in self.fields.items():
            each.name = name
            if each is said[name]:
                delattr(cls, name)
                if each.default is not _NONE:
                    setattr(cls, name, each.default)

    def compile_init(self) -> None:
        """Put ``__init__`` into the class."""
        parameters, lines, names = ["self"], [], {"_NONE": _NONE, "_set": object.__setattr__}
        for name, each in self.fields.items():
            value = name
            if each.default_factory is not _NONE:
                names[f"_new_{name}"], value = each.default_factory, f"_new_{name}() if {name} is _NONE else {name}"
                parameters.append(f"{name}=_NONE")
            elif each.default is not _NONE:
                names[f"_default_{name}"] = each.default
                parameters.append(f"{name}=_default_{name}")
            elif each.init:
                parameters.append(name)
            else:
                continue
            lines.append(f"_set(self, {name!r}, {value})" if self.frozen else f"self.{name} = {value}")
        if hasattr(self.cls, "__post_init__"):
            lines.append("self.__post_init__()")
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), names)
        init: Any = names["__init__"]
        init.__module__, init.__qualname__ = self.cls.__module__, f"{self.cls.__qualname__}.__init__"
        annotations = self.cls.__annotations__
        init.__annotations__ = {name: annotations[name] for name, each in self.fields.items() if each.init}
        self.cls.__init__ = init  # type: ignore[misc]

    def tell_dataclasses(self) -> None:
        """Put what ``dataclasses`` and ``inspect`` look for into the class: of a real dataclass with these fields."""
        import dataclasses
        import inspect

        names = {name: dataclasses.field(**each.given()) for name, each in self.fields.items()}
        annotations = {"__annotations__": {name: self.cls.__annotations__[name] for name in names}}
        real: Any = type(self.cls.__name__, (), {"__module__": self.cls.__module__, **names, **annotations})
        real = dataclasses.dataclass(eq=self.eq, frozen=self.frozen)(real)
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(self.cls, name, getattr(real, name))
        self.cls.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]


class _Later:
    """An attribute of the class that is made when somebody asks for it."""

    def __init__(self, name: str, recipe: _Recipe) -> None:
        self._name, self._recipe = name, recipe

    def __get__(self, instance: object, cls: type) -> Any:
        self._recipe.tell_dataclasses()
        return getattr(cls, self._name)


def _first_init(recipe: _Recipe) -> Callable[..., None]:
    def __init__(self: Any, *arguments: Any, **named: Any) -> None:
        recipe.compile_init()
        recipe.cls.__init__(self, *arguments, **named)  # type: ignore[misc]

    return __init__


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._recipe.fields)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    values = self._recipe.values
    return values(self) == values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._recipe.values(self))


def _refuse(self: Any, name: str, value: object = None) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r}")


if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, fields, replace
else:
    field = _Field

    def fields(record: Any) -> tuple[_Field, ...]:
        """As :func:`dataclasses.fields`, of a record: with what it says of each."""
        return tuple(record._recipe.fields.values())

    def record(*, eq: bool = True, repr: bool = True, frozen: bool = False) -> Callable[[type], type]:
        """As :func:`dataclasses.dataclass`, for a class that inherits no fields and whose annotations are strings.

        >>> @record(frozen=True)
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(1), replace(Point(1), y=2) == Point(1, 2)
        (Point(x=1, y=0), True)
        """

        def decorate(cls: type) -> type:
            cls._recipe = recipe = _Recipe(cls, eq=eq, frozen=frozen)
            cls.__init__ = _first_init(recipe)
            cls.__match_args__ = tuple(name for name, each in recipe.fields.items() if each.init)
            for name in ("__dataclass_fields__", "__dataclass_params__", "__signature__"):
                setattr(cls, name, _Later(name, recipe))
            if repr:
                cls.__repr__ = _repr
            if eq:
                cls.__eq__, cls.__hash__ = _eq, _hash if frozen else None
            if frozen:
                cls.__setattr__ = cls.__delattr__ = _refuse
            return cls

        return decorate

    def replace(instance: Any, **changes: Any) -> Any:
        """As :func:`dataclasses.replace`, for a record."""
        cls = type(instance)
        return cls(**{name: getattr(instance, name) for name in cls.__match_args__} | changes)


__all__ = ["field", "fields", "record", "replace"]
