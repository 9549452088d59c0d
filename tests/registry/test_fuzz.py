"""R7, quick: what nobody wrote, fed to every parser. The full size: `python -m tests.torture R7 --size full`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import canonical
from registry.errors import BadValue
from tests.torture import fuzz
from tests.torture.fuzz_targets import TARGETS, Target

RUNS = 120  # mutations of each target; `python -m tests.torture R7` makes 20,000 in all
# Those whose crafted inputs unpack or parse to megabytes, which takes seconds.
LARGE = (
    "object files",
    "canonical JSON",
    "records, to the terminal",
    "pack indexes",
    "bundles",
    "MLflow manifests",
    "masks and deltas",
    "safetensors tables",
    "configs of a base",
    "captions",
)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_end_in_an_error_of_ours(name: str) -> None:
    tally = fuzz.Tally(TARGETS[name])
    target = replace(TARGETS[name], crafted=lambda: iter(())) if name in LARGE else TARGETS[name]
    for data in fuzz.mutations(target, RUNS, 0):
        tally.one(data)
    assert tally.figures()["finds"] == []
    assert tally.tried >= RUNS


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_inputs_made_to_take_memory_or_time_take_neither(name: str) -> None:
    found = fuzz.in_a_process(name, 0, 0)
    assert found["finds"] == []
    assert found["tried"] > 0


@settings(max_examples=100)
@given(st.sampled_from(list(TARGETS.values())), st.binary(max_size=400), st.booleans())
def test_any_bytes_end_in_an_error_of_ours(target: Target, data: bytes, repair: bool) -> None:
    assert fuzz.attempt(target, target.repaired(data) if repair else data) is None


def test_harness_sees_an_error_that_is_not_ours_and_lost_time() -> None:
    def parse(data: bytes) -> None:
        raise IndexError(data)

    assert "IndexError" in str(fuzz.attempt(Target("x", parse, list), b"abc"))

    def refuse(data: bytes) -> None:
        raise BadValue("x", data, "y")

    assert fuzz.attempt(Target("x", refuse, list), b"abc") is None


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**4000])
def test_number_without_a_float_is_no_canonical_json(number: int) -> None:
    with pytest.raises(BadValue, match="64 bits"):
        canonical.encode({"a": number})
    with pytest.raises(BadValue):
        canonical.decode(b'{"a":%d}' % number)


def test_text_that_cannot_be_stored_is_refused_before_any_work() -> None:
    assert canonical.check_text("Zoë 犬\n", "message") == "Zoë 犬\n"
    with pytest.raises(BadValue, match="message"):
        canonical.check_text("\udcff", "message")
