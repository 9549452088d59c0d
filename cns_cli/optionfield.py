"""How an option is typed, the checks of what is typed for it, and the options that several verbs share.

The field of an options object, or the parameter of a command, says `Annotated[int, Option(...)]`, and `cns_cli.options`
makes Typer's parameter of that; nothing here knows of Typer, and only the standard library is imported. A check returns
the value, or what stands in its place, and raises ValueError for one that cannot be meant.
"""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

MAX_SEED = 2**63 - 1  # what torch's generators and numpy's both take

Device = Literal["auto", "cpu", "cuda", "mps"]

Place = Literal["auto", "cpu", "cuda", "mps", "balanced"]
"""Where pictures alone are made."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""In which number format the denoiser computes."""

Engine = Literal["processes", "ray"]
"""Who runs the processes that compute."""

TYPES: dict[Any, tuple[Any, ...]] = {
    str: ("text", str),
    Path: ("text", str),
    bool: ("true or false", bool),
    int: ("a whole number", int),
    float: ("a number", int, float),
}
"""What a type is called, and what a file may have for it."""

_AGE = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Refused(ValueError):
    """A value that cannot be meant, and the command to type first."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Option:
    """What the command line and its help page say of a field or parameter.

    Attributes:
        help: A sentence for the help page.
        metavar: What stands there for the value; None: nothing, or the choices.
        flags: What is typed, words apart; empty: `--` and the field's name.
        repeated: It may be typed several times; the command is given a list of texts, or None.
        choices: A `Literal` of what may be typed, where the field's own type is wider.
        absent: What the command is given when nothing is typed; `...`: the field's default.
        check: Looks at the value, the default too.
        min, max: Bounds of a number, both included.
        parser: Makes the value of the text.
        exists, file_okay, dir_okay: What a path must lead to.
    """

    help: str
    metavar: str | None = None
    flags: str = ""
    repeated: bool = False
    choices: Any = None
    absent: Any = ...
    check: Callable[[Any], Any] | None = None
    min: float | None = None
    max: float | None = None
    parser: Callable[[str], Any] | None = None
    exists: bool = False
    file_okay: bool = True
    dir_okay: bool = True


class Argument(Option):
    """An option that is typed without a flag, by its place."""


def option_of(annotation: Any) -> Option | None:
    """Return what the command line says of a field or parameter; None: it is not typed."""
    return next((one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, Option)), None)


def meant(annotation: Any, value: Any) -> Any:
    """Return the value of an option that stands in a file, checked as the command line checks what is typed.

    Args:
        annotation: `Annotated[type, Option(...)]`; a path is checked for being text alone.
        value: As TOML has it.

    Raises:
        ValueError: It is of another type, out of bounds, or refused by the option's check.
    """
    option = option_of(annotation)
    assert option is not None
    kind = option.choices or annotation.__origin__
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
    if option.parser and type(value) in (str, int, float):
        return option.parser(str(value))
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError(f"{value!r} is none of {', '.join(get_args(kind))}")
    if kind in TYPES and type(value) not in TYPES[kind][1:]:
        raise ValueError(f"{value!r} is not {TYPES[kind][0]}")
    if (option.min is not None and value < option.min) or (option.max is not None and value > option.max):
        bounds = f"at least {option.min}" if option.max is None else f"between {option.min} and {option.max}"
        raise ValueError(f"{value} is not {bounds}")
    return option.check(value) if option.check else value


def seed_number(value: int) -> int:
    """Accept a whole number that every random generator takes as a seed."""
    if not 0 <= value <= MAX_SEED:
        raise ValueError(f"{value} is not between 0 and {MAX_SEED}")
    return value


def eighths(value: int | None) -> int | None:
    """Accept a side of a picture: a multiple of 8, which the autoencoder and the denoiser halve without a rest."""
    if value is not None and value % 8:
        raise ValueError(f"{value} is no multiple of 8; expected {value // 8 * 8 or 8} or {value // 8 * 8 + 8}")
    return value


def share(text: str) -> float:
    """Parse a share: `5.8%` or `0.058`, above 0 and at most 1."""
    bare = text.strip()
    try:
        value = float(Decimal(bare[:-1]) / 100) if bare.endswith("%") else float(bare)  # 5.8% is 0.058 to the bit
    except (ValueError, InvalidOperation):
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError(f"{text!r} is not a share; expected 5.8% or 0.058, above 0 and at most 1")
    return value


def age(text: str) -> float:
    """Parse an age into seconds: `now`, `90m`, `12h`, `14d`, `2w`."""
    if text == "now":
        return 0.0
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no age; expected now, or a number and s, m, h, d or w, such as 14d")
    return int(match[1]) * _SECONDS[match[2]]


def finite(value: float | None) -> float | None:
    """Accept a number that is neither infinite nor NaN."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def positive(value: float | None) -> float | None:
    """Accept a number above zero that is neither infinite nor NaN."""
    if value is not None and not 0 < value < float("inf"):
        raise ValueError(f"{value} is not above 0")
    return value


def new_names(texts: list[str] | None) -> list[str] | None:
    """Accept new names, `OLD=NEW`, one for each OLD."""
    olds = [text.partition("=")[0] for text in texts or ()]
    for text, old in zip(texts or (), olds, strict=True):
        if not re.fullmatch(r"[^=]+=[^=]+", text) or olds.count(old) > 1:
            raise ValueError(f"{text!r} is no new name; expected OLD=NEW, once for each OLD")
    return texts


def file_to_write(path: Path | None) -> Path | None:
    """Accept a file whose folder exists, so that no picture is computed for nowhere."""
    if path is not None and path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; expected a file name")
    if path is not None and not path.absolute().parent.is_dir():
        said = f"there is no folder {str(path.parent)!r} to write into"
        raise Refused(said, f"mkdir -p {shlex.quote(str(path.parent))}")
    return path


def device_there(name: str) -> str:
    """Accept a device that this machine might have, so that nothing is loaded for one that it lacks."""
    from cns_cli.devices import is_possible

    if not is_possible(name):
        what = "GPU" if name == "balanced" else name
        raise ValueError(f"this machine has no {what} that torch can use; leave the choice open: --device auto")
    if name == "balanced" and importlib.util.find_spec("accelerate") is None:
        raise Refused("accelerate, which spreads a base over GPUs, is not installed", "pip install 'cns-cli[gpus]'")
    return name


def device_list(text: str | None) -> tuple[str, ...]:
    """Accept devices of one kind by commas, such as cuda:0,cuda:1; scores of two kinds are never compared."""
    names = tuple(filter(None, (text or "").split(",")))
    for name in names:
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
            raise ValueError(f"{name!r} is no device; expected cpu, cuda, cuda:1 or mps, by commas")
        device_there(name)
    if len({name.partition(":")[0] for name in names}) > 1:
        raise ValueError(f"{text} are of two kinds, whose scores are never compared; expected one kind")
    return names


def engine_there(name: str) -> str:
    """Accept an engine that is installed."""
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise Refused("Ray is not installed", "pip install 'cns-cli[ray]'")
    return name


def part(text: str | None) -> tuple[int, int] | None:
    """Accept one of several parts: `1/2` is the first of two."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{text!r} is no part; expected I/N, with I from 1 to N, such as 1/2")
    return int(found[1]), int(found[2])


REV = Argument("Commit, branch, tag, concept, HEAD~2, ...", "REV")
SEED = Option("Same seed, same result.", "SEED", flags="--seed -s", check=seed_number)
DEVICE = Option("Where to compute; auto takes a GPU when there is one.", choices=Device, check=device_there)
PLACE = Option(
    "Where to compute; auto takes a GPU when there is one, balanced spreads the base over all.",
    choices=Place,
    check=device_there,
)
DTYPE = Option("Number format of the denoiser; auto is float32, on a GPU bfloat16 or float16.", choices=Dtype)
JOBS = Option("Work in N processes (on each device), which share the cores.", "N", min=1, max=256)
DEVICES = Option(
    "Work on several devices, such as cuda:0,cuda:1.", "DEVICES", choices=str, absent=None, check=device_list
)
ENGINE = Option("Who runs them: this program, or Ray, on a cluster too.", choices=Engine, check=engine_there)
SHARD = Option(
    "Compute and store this part alone; exit code 0, and no verdict.", "I/N", choices=str, absent=None, check=part
)
MESSAGE = Option("Commit message.", "TEXT", flags="--message -m")
OURS = Option("In conflict: keep what HEAD has; may be repeated.", "NAME", repeated=True)
THEIRS = Option("In conflict: take what the other side has; may be repeated.", "NAME", repeated=True)
RENAME = Option(
    "In conflict: keep both, the other side's under a new name and its token.",
    "OLD=NEW",
    repeated=True,
    check=new_names,
)
FAVOUR = Option(
    "Settles every conflict that is not named.", flags="--strategy-option -X", choices=Literal["ours", "theirs"]
)
MAINLINE = Option("Of a merge: the parent to compare it with, 1 is the first.", "N", flags="--mainline -m", min=1)
NO_DRIFT = Option("Do not load the base model to compute the K/V drift.", flags="--no-drift")
