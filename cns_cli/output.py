"""The one door to the terminal: stdout is the answer, stderr is talk, and no user's string brings a control character.

What is talked also passes `shown()`: a library's message may hold a whole address, with the password in it.

A line is a string, or strings and `Styled` pieces in sequence. Every piece passes `safe()` here, at the sink, and
colour codes are added after it, so no name, prompt or path can move the cursor, turn text around or colour it.
Markup languages are not used at all: `[red]` in a name is five characters. With `--json` the answer is one JSON
document in ASCII; talk is the same in both modes.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from cns_cli import pager, settings
from registry.addresses import shown

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

# C0, DEL, C1 and surrogates, and characters that reorder text, end a line or hide.
_HARMFUL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Styled:
    """A piece of text with one of `STYLES`."""

    text: str
    style: str


_talk_is = {"quiet": False, "verbose": False, "json": False}


def speak(*, quiet: bool = False, verbose: bool = False) -> None:
    """Say how much this call of the program talks: with `quiet` warnings and errors alone, with `verbose` all."""
    _talk_is.update(quiet=quiet, verbose=verbose)


def answer_in_json(wanted: bool) -> bool:
    """Say whether a JSON document is owed on stdout: until there is an answer, an error becomes one."""
    _talk_is["json"] = wanted
    return wanted


def is_json_owed() -> bool:
    """Whether a JSON document was asked for and is not written yet."""
    return _talk_is["json"]


def is_quiet() -> bool:
    """Whether hints, notes and progress stay away."""
    return _talk_is["quiet"]


def is_verbose() -> bool:
    """Whether long lists are printed in full."""
    return _talk_is["verbose"]


Piece = str | Styled
Line = str | Sequence[Piece]


def safe(text: object, *, keep_newlines: bool = False) -> str:
    """Make any string harmless on a terminal: each control, bidi or invisible character becomes its visible escape.

    Args:
        text: Anything; `str()` of it is taken.
        keep_newlines: Leave line feeds in place, for texts that may have several lines.
    """
    said = str(text)
    if said.isascii() and said.isprintable():  # most of a long answer; looking for harm takes three times as long
        return said
    return _HARMFUL.sub(lambda found: "\n" if keep_newlines and found[0] == "\n" else _escape(found[0]), said)


def width(text: str) -> int:
    """Return how many terminal columns a safe string takes: wide East Asian and emoji characters count two."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def columns_of(stream: TextIO) -> int | None:
    """Return how many columns a terminal has; None for a file or a pipe, which get whole lines that can be searched."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def table(rows: Iterable[Sequence[Piece]], *, header: Sequence[str] = (), right: Sequence[int] = ()) -> list[Line]:
    """Align rows in columns two spaces apart.

    Args:
        rows: Cells; every row as long as the header when there is one.
        header: Column titles, printed dim; empty for none.
        right: Indices of columns that are aligned to the right (figures).
    """
    body = [[_piece(cell) for cell in row] for row in rows]
    lines = ([[Styled(title, "dim") for title in header]] if header else []) + body
    if not lines:
        return []
    widths = [max((width(row[i].text) for row in lines if i < len(row)), default=0) for i in range(len(lines[0]))]
    return [_aligned(row, widths, right) for row in lines]


def facts(rows: Iterable[tuple[str, str]]) -> list[Line]:
    """Align labels and what they are, indented; the labels are dim."""
    return table(["", Styled(label, "dim"), value] for label, value in rows)


class Output:
    """Where one command answers and talks.

    Args:
        as_json: The answer is printed as JSON instead of lines.
        paged: Lines on a terminal go through the user's pager.
    """

    def __init__(self, *, as_json: bool = False, paged: bool = False) -> None:
        self.as_json = as_json
        self.paged = paged

    def answer(self, data: Mapping[str, Any] | Sequence[Any], lines: Iterable[Line]) -> None:
        """Print the answer on stdout: `data` with `--json`, else `lines` (a generator of them is run only then)."""
        if self.as_json:
            text = json.dumps(_finite(data), indent=2, ensure_ascii=True, allow_nan=False)
            answer_in_json(False)
            sys.stdout.write(text + "\n")
            return
        colour = settings.colour_wanted(sys.stdout)
        written = (_render(line, colour) + "\n" for line in lines)
        pager.write_paged(written) if self.paged else sys.stdout.writelines(written)

    def note(self, text: str) -> None:
        """Say something on stderr."""
        if not is_quiet():
            _talk(text, "", "")

    def warn(self, text: str) -> None:
        """Warn on stderr."""
        _talk(text, "warning: ", "yellow")

    def hint(self, command: str, why: str = "") -> None:
        """Name the next command on stderr: `  next: cns log`."""
        if not is_quiet():
            _talk(f"{command}   ({why})" if why else command, "  next: ", "dim", wrap=False)


def complain(message: str, hint: str = "") -> None:
    """Print an error and the next command on stderr: `error: …` and `  try: cns …`."""
    _talk(message, "error: ", "red")
    if hint:
        is_command = hint.startswith(("cns ", "pip ", "unset ", "mkdir ", "ls "))
        _talk(hint, "  try: " if is_command else "  hint: ", "dim", wrap=False)


def write_raw(stream: TextIO, text: str) -> None:
    """Write a text of several lines through `safe()`, and addresses in it without what opens them; for tracebacks."""
    stream.write(safe(shown(text), keep_newlines=True))
    stream.flush()


def _escape(char: str) -> str:
    code = ord(char)
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _piece(cell: Piece) -> Styled:
    return Styled(safe(cell.text), cell.style) if isinstance(cell, Styled) else Styled(safe(cell), "")


def _aligned(row: Sequence[Styled], widths: Sequence[int], right: Sequence[int]) -> list[Piece]:
    pieces: list[Piece] = []
    last = max((i for i, cell in enumerate(row) if cell.text), default=-1)
    for i, cell in enumerate(row[: last + 1]):
        gap = " " * (widths[i] - width(cell.text))
        pieces.append("  " if i else "")
        pieces += [gap, cell] if i in right else [cell, gap if i < last else ""]  # no blanks at a line's end
    return pieces


def _render(line: Line, colour: bool) -> str:
    pieces = [line] if isinstance(line, str) else line
    return "".join(safe(piece) if isinstance(piece, str) else _paint(_piece(piece), colour) for piece in pieces)


def _paint(piece: Styled, colour: bool) -> str:
    code = STYLES.get(piece.style)
    return f"\x1b[{code}m{piece.text}\x1b[0m" if colour and code and piece.text else piece.text


def _talk(text: str, label: str, style: str, *, wrap: bool = True) -> None:
    stream = sys.stderr
    lines = safe(shown(text) if "://" in text else text, keep_newlines=True).split("\n")
    if wrap and stream.isatty():  # a file or a pipe gets whole lines, which can be searched
        columns = min(shutil.get_terminal_size().columns, 100) - len(label)
        lines = [
            part for line in lines for part in textwrap.wrap(line, max(columns, 30), break_on_hyphens=False) or [""]
        ]
    indent = " " * len(label)
    head = _paint(Styled(label, style), settings.colour_wanted(stream))
    stream.write("\n".join((head if i == 0 else indent) + line for i, line in enumerate(lines)) + "\n")
    stream.flush()


def _finite(value: Any) -> Any:
    """Replace NaN and infinities by null: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
