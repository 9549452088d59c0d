"""Options that several commands share, each described once: the `Annotated` types of the command line.

A command module takes its parameter types from here, so that `--json` or `--device` reads the same everywhere. What an
option may hold is checked here, before anything heavy is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

import typer

MAX_SEED = 2**63 - 1  # what torch's generators and numpy's both take

Device = Literal["auto", "cpu", "cuda", "mps"]


def _seed(value: int) -> int:
    """Accept a whole number that every random generator takes as a seed."""
    if not 0 <= value <= MAX_SEED:
        raise typer.BadParameter(f"{value} is not between 0 and {MAX_SEED}")
    return value


JsonFlag = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on stdout.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where to compute; auto takes a GPU when there is one.", show_default=True)
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="SEED", callback=_seed, help="Same seed, same result.", show_default=True)
]
Revision = Annotated[str, typer.Argument(metavar="REV", help="Commit, branch, tag, concept, HEAD~2, ...")]
ConceptName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a concept of HEAD.")]


def share(text: str) -> float:
    """Parse a share: `5.8%` or `0.058`.

    Raises:
        typer.BadParameter: it is no number, or not above 0 and at most 1.
    """
    bare = text.strip()
    try:
        value = float(Decimal(bare[:-1]) / 100) if bare.endswith("%") else float(bare)  # 5.8% is 0.058 to the bit
    except (ValueError, InvalidOperation):
        value = 0.0
    if not 0 < value <= 1:
        raise typer.BadParameter(f"{text!r} is not a share; expected 5.8% or 0.058, above 0 and at most 1")
    return value


def finite(value: float | None) -> float | None:
    """Accept a number that is neither infinite nor NaN.

    Raises:
        typer.BadParameter: it is one of these.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def positive(value: float | None) -> float | None:
    """Accept a number above zero.

    Raises:
        typer.BadParameter: it is zero, negative, infinite or NaN.
    """
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value} is not above 0")
    return value


def file_to_write(path: Path | None) -> Path | None:
    """Accept a file whose folder exists, so that no picture is computed for nowhere.

    Raises:
        typer.BadParameter: the folder does not exist, or the path is a folder.
    """
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder; expected a file name")
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(path.parent)!r} to write into")
    return path


def examples(lines: Sequence[str]) -> str:
    """Return the end of a help page; the mark keeps the lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
