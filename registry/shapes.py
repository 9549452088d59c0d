"""What the fields of stored objects may hold: their types say it, and are checked when an object is made.

`str`, `tuple[X, ...]`, `dict[str, X]` and `X | None` are checked as they stand, `Annotated[X, check]` by that check;
of any other type everything goes. An error names the field, and in a table the key. No object is known here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from registry.errors import BadValue, NameTaken
from registry.names import check_name, is_id

Check = Callable[[Any, str], Any]  # (value, where it stands) -> the value as it is kept

LATEST_TIME = 253_402_300_799  # the last second of the year 9999: later dates have no printed form
MAX_TOKENS = 64  # of one concept; each is a row of the text encoder's embedding
LONGEST_TOKEN = 64
EXPONENTS = (-1100, 1100)  # of a grid step: what a float64 can hold
LONGEST_SIDE = 2**31
COMMIT_KINDS = ("init", "add", "remove", "revert", "merge", "cherry-pick", "import")


def check_fields(obj: object, kind: str) -> None:
    """Check the fields of a frozen dataclass that is being made, in their order; a list becomes a tuple.

    Raises:
        BadValue, NameTaken: one does not hold what its type says.
    """
    for field, check in _checks_of(type(obj)):  # type: ignore[arg-type]  # a class is hashable
        value = getattr(obj, field)
        kept = check(value, f"{kind}.{field}")
        if kept is not value:
            object.__setattr__(obj, field, kept)


@cache
def _checks_of(kind: type) -> list[tuple[str, Check]]:
    hints = get_type_hints(kind, include_extras=True)
    return [(field.name, _check_of(hints[field.name])) for field in dataclasses.fields(kind)]


def _check_of(hint: Any) -> Check:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return hint.__metadata__[0]
    if hint is str:
        return _text
    if origin not in (Union, UnionType, tuple, dict):
        return lambda value, _: value
    inner = _check_of(args[1] if origin is dict else args[0])

    def check(value: Any, where: str) -> Any:
        if origin is dict:
            for key, held in _table(value, where).items():
                inner(held, f"{where}.{key}")
            return value
        if origin is tuple:
            return tuple([inner(one, where) for one in _list(value, where)])
        return None if value is None else inner(value, where)

    return check


def _text(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        raise BadValue(where, value, "a string")
    return value


def _id(value: Any, where: str) -> Any:
    if not is_id(value):
        raise BadValue(where, value, "an id: 64 hex digits")
    return value


def _table(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadValue(where, value, "an object with string keys")
    return value


def _list(value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadValue(where, value, "a list")
    return tuple(value)


def whole(least: int, most: int | None = None) -> Check:
    """Return the check of a whole number of that range, both ends included."""

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise BadValue(where, value, f"a whole number >= {least}")
        if most is not None and value > most:
            raise BadValue(where, value, f"a whole number <= {most}")
        return value

    return check


def _matrix(value: Any, where: str) -> Any:
    if set(_table(value, where)) != {"shape", "sha256", "exponent"}:
        raise BadValue(where, sorted(value), "the keys shape, sha256 and exponent")
    _id(value["sha256"], f"{where}.sha256")
    whole(*EXPONENTS)(value["exponent"], f"{where}.exponent")
    sides = _list(value["shape"], f"{where}.shape")
    if len(sides) != 2:
        raise BadValue(f"{where}.shape", sides, "two sides")
    for side in sides:
        whole(1, LONGEST_SIDE)(side, f"{where}.shape")
    return value


def _tokens(value: Any, where: str) -> tuple[str, ...]:
    tokens = _list(value, where)
    for token in tokens:
        if not 1 <= len(_text(token, where)) <= LONGEST_TOKEN:
            raise BadValue(where, token, f"1 to {LONGEST_TOKEN} characters")
    if len(tokens) > MAX_TOKENS:
        raise BadValue(f"the number of {where}", len(tokens), f"at most {MAX_TOKENS}")
    return tokens


def _members(value: Any, where: str) -> Any:
    holders: dict[str, str] = {}
    for name, concept in _table(value, where).items():
        _id(concept, f"{where}.{check_name(name)}")
        if concept in holders:
            raise NameTaken(name, "concept", holders[concept])
        holders[concept] = name
    return value


def _commit_kind(value: Any, where: str) -> Any:
    if value not in COMMIT_KINDS:
        raise BadValue(where, value, "one of " + ", ".join(COMMIT_KINDS))
    return value


Id = Annotated[str, _id]
Name = Annotated[str, lambda value, _: check_name(value)]  # of a concept
Time = Annotated[int, whole(0, LATEST_TIME)]  # unix seconds, UTC
CommitKind = Annotated[str, _commit_kind]
Matrix = Annotated[dict[str, Any], _matrix]  # {"shape": [O, I], "sha256": id, "exponent": e}
Members = Annotated[dict[str, str], _members]  # {name: concept id}, no concept twice
Tokens = Annotated[tuple[str, ...], _tokens]
