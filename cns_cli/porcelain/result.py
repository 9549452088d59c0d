"""What every answer of porcelain can do: become JSON values. It stands apart so that `log` need not load them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Result:
    """Base of every answer: `to_json()` turns dataclasses, paths and mappings into plain JSON values.

    Attributes:
        also: Properties that are printed behind the fields.
    """

    also: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values; keys are the field names and stay stable."""
        names = (*(field.name for field in fields(self)), *self.also)
        return {name: _plain(getattr(self, name)) for name in names}

    @classmethod
    def of(cls, source: object, **more: Any) -> Self:
        """Answer with what a source calls as this class does, lists as tuples, and with `more`, which goes first."""
        wanted = _names(cls) - more.keys()  # type: ignore[arg-type]  # every class can be hashed
        same = {name: getattr(source, name) for name in wanted if hasattr(source, name)}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in same.items()}, **more)


@cache
def _names(kind: type[Result]) -> frozenset[str]:
    """Field names of a class of answers; a long log makes thousands of one."""
    return frozenset(field.name for field in fields(kind))


def _plain(value: Any) -> Any:
    """Turn a field's value into JSON values; a Path becomes its string, a tuple a list."""
    if isinstance(value, Result):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
