"""No user's string moves the cursor, colours a line or turns text around; JSON stays one ASCII document."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns_cli.output import Output, Styled, complain, safe, table, width


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rex", "rex"),
        ("Zoë 犬 🐕", "Zoë 犬 🐕"),
        ("👩‍🚀", "👩‍🚀"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("[red]x[/red] [link=http://x]", "[red]x[/red] [link=http://x]"),
    ],
)
def test_control_characters_become_visible(given: str, shown: str) -> None:
    assert safe(given) == shown


@given(st.text())
def test_nothing_that_controls_a_terminal_gets_through(text: str) -> None:
    shown = safe(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert not any(
        unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") for c in shown
    )
    assert safe(shown) == shown


@given(st.text())
def test_lines_of_an_answer_are_as_many_as_were_given(text: str) -> None:
    sys.stdout, before = io.StringIO(), sys.stdout
    try:
        Output().answer({}, [["  ", Styled(text, "red"), text], *table([[text, "x"]])])
        written = sys.stdout.getvalue()
    finally:
        sys.stdout = before
    assert written.count("\n") == 2
    assert "\x1b" not in written


def test_colour_only_on_a_terminal_and_not_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream, no_color, coloured in ((Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setattr(sys, "stdout", stream)
        Output().answer({}, [["x ", Styled("\x1b[2Jname", "green")]])
        assert ("\x1b[32m\\x1b[2Jname\x1b[0m" in stream.getvalue()) is coloured


def test_json_is_ascii_and_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name": "Zoë\x9b\u202e", "loss": float("nan"), "rows": ({"x": float("inf")},)}
    Output(as_json=True).answer(data, ["never printed"])
    written = capsys.readouterr().out
    assert written.isascii()
    assert json.loads(written) == {"name": "Zoë\x9b\u202e", "loss": None, "rows": [{"x": None}]}


def test_columns_line_up_with_wide_characters() -> None:
    rows = table([["犬", "1"], ["rex", "22"]], right=[1])
    lines = ["".join(piece if isinstance(piece, str) else piece.text for piece in row) for row in rows]
    assert [width(line) for line in lines] == [width(lines[0])] * 2


def test_talk_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.note("a note")
    out.warn("a warning")
    out.hint("cns log", "to see it")
    complain("it broke", "cns status")
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == (
        "a note\nwarning: a warning\n  next: cns log   (to see it)\nerror: it broke\n  try: cns status\n"
    )


def test_long_talk_is_wrapped_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for stream, most in ((Terminal(), 80), (io.StringIO(), 400)):
        monkeypatch.setattr(sys, "stderr", stream)
        Output().warn("a word " * 40)
        plain = re.sub(r"\x1b\[\d+m", "", stream.getvalue())
        assert max(len(line) for line in plain.splitlines()) <= most
        assert (plain.count("\n") > 1) is (most == 80)
