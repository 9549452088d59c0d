"""Canonical JSON: one value, one string of bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import canonical
from registry.errors import BadValue

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**64, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_was_encoded_decodes_to_itself(value: Any) -> None:
    assert canonical.decode(canonical.encode(value)) == value


@given(st.dictionaries(text, st.integers(1 - 2**64, 2**64 - 1), max_size=6))
def test_key_order_does_not_matter(value: dict[str, int]) -> None:
    assert canonical.encode(dict(reversed(value.items()))) == canonical.encode(value)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_our_error(payload: bytes) -> None:
    try:
        assert canonical.encode(canonical.decode(payload)) == payload
    except BadValue:
        pass


def test_form_is_pinned() -> None:
    assert canonical.encode({"b": [1, 2.5, True, None], "a": "ü\n"}) == b'{"a":"\xc3\xbc\\n","b":[1,2.5,true,null]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": b"x"}, {"a": {1, 2}}, "\ud800", object()])
def test_refuses_what_json_cannot_say(value: Any) -> None:
    with pytest.raises(BadValue):
        canonical.encode(value)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"NaN",
        b"[1e999]",
        b"\xff",
        b"",
        b'"\\u00fc"',
        b"1.50",
        b"[" * 100_000,
        b"1" * 10_000,
        b"[" * 200 + b"]" * 200,
    ],
)
def test_refuses_other_spellings(payload: bytes) -> None:
    with pytest.raises(BadValue):
        canonical.decode(payload)
