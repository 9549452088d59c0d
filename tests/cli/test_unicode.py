"""R13, quick: no text, typed or stored, controls a terminal; many more texts: `python -m tests.torture R13`."""

from __future__ import annotations

import pytest

from cns_cli import figures
from tests.torture import unicode as trials


def test_texts_that_are_typed() -> None:
    count, wrong = trials.typed(60)
    assert wrong == []
    assert count >= 60


def test_texts_that_are_stored() -> None:
    count, wrong = trials.stored(60)
    assert wrong == []
    assert count >= 30


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain \x1b[31mred\x1b[0m\n", []),
        ("\x1b[2J", ["U+001B"]),
        ("\x1b[32;5m", ["U+001B"]),
        ("\x9b31m\r", ["U+000D", "U+009B"]),
        ("\u202e\u2028\udcff", ["U+2028", "U+202E", "U+DCFF"]),
    ],
)
def test_harness_sees_what_controls_a_terminal(text: str, found: list[str]) -> None:
    assert trials.harmful(text) == found


def test_harness_sees_a_bug_and_where_it_was_said() -> None:
    (wrong,) = trials.told(["log"], 1, "", "Traceback …")
    assert "a bug" in wrong
    (wrong,) = trials.told(["log"], 0, "\x07", "")
    assert "stdout" in wrong


def test_process_on_a_terminal() -> None:
    with trials.registry() as folder:
        trials.store(folder, "\x1b[2J\u202e\r")
        code, out, err = trials._process(["log"], folder, {}, terminal=True)
    assert trials.told(["log"], code, out, err) == []
    assert "\\x1b[2J\\u202e\\r" in out
    assert "\x1b[" in out  # our own colours


@pytest.mark.slow
def test_processes_with_and_without_a_terminal() -> None:
    assert trials.in_processes()[1] == []


@pytest.mark.parametrize("share", [1e307, -1e307, float("inf"), float("nan"), None])
def test_share_that_a_stranger_recorded_is_written_somehow(share: float | None) -> None:
    assert figures.percent(share) == "-"
