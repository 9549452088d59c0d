"""Canonical JSON: one value, one string of bytes.

UTF-8, keys sorted by code point, no spaces, no NaN, no lone surrogates, whole numbers of 64 bits. An object's id
hashes these bytes, so that the form may never change; a test pins it. Decoding accepts canonical bytes only, so that
no two files mean the same object.
"""

from __future__ import annotations

import json
import math
from typing import Any

from registry.errors import BadValue

# Chosen, not tuned: our own objects nest 6 deep; a hostile file must not reach the recursion limit.
MAX_DEPTH = 64
# A list of two bytes becomes an object of sixty: what is larger than this could fill the memory.
MAX_BYTES = 4 * 2**20
# Beyond it a number has no float, and what prints or sums it fails.
MAX_WHOLE = 2**64


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value.

    Raises:
        BadValue: a NaN or Inf, a key that is no string, text that UTF-8 cannot hold, too deep nesting, or another type.
    """
    _check(value, "value", 0)
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadValue("text", error.object[error.start : error.end], "text without lone surrogates") from error


def decode(payload: bytes) -> Any:
    """Return the value of canonical bytes.

    Raises:
        BadValue: payload is not JSON, or not in canonical form, or larger than `MAX_BYTES`.
    """
    if len(payload) > MAX_BYTES:
        raise BadValue("the size of JSON", len(payload), f"at most {MAX_BYTES} bytes")
    try:
        value = json.loads(payload.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadValue("JSON", payload[:40], f"canonical JSON ({type(error).__name__})") from error
    if encode(value) != payload:
        raise BadValue("JSON", payload[:40], "canonical JSON (sorted keys, no spaces)")
    return value


def check_text(text: str, what: str) -> str:
    """Return a text that canonical JSON can hold, or raise BadValue: before hours of work, not after."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadValue(what, text, "text in UTF-8, without lone surrogates") from error
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadValue(where, "…", f"at most {MAX_DEPTH} levels of nesting")
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if abs(value) >= MAX_WHOLE:
            raise BadValue(where, "…", "a whole number of at most 64 bits")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadValue(where, value, "a finite number")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise BadValue(f"key in {where}", key, "a string")
            _check(inner, f"{where}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check(inner, where, depth + 1)
    else:
        raise BadValue(where, value, "a string, number, bool, null, list or object")
