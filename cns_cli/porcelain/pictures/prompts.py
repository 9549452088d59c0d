"""Many prompts: a file with one a line, and what a line may say of its own picture.

The options in a line are those of kohya's sample prompts: `--n` what to keep away from, `--w` and `--h` the size, `--d`
the seed, `--l` the guidance, `--s` the steps. Empty lines and lines that begin with `#` are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cns.files.plain import read_regular_file, reason_of
from cns_cli.optionfield import eighths, seed_number
from cns_cli.porcelain.options import GenerateOptions
from registry.errors import RegistryError

MAX_BYTES = 10_000_000
MOST = 10_000  # prompts of a file (chosen)


def _between(kind: type, low: float, high: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not low <= (value := kind(text)) <= high:
            raise ValueError(f"{text} is not between {low:g} and {high:g}")
        return value

    return read


OF_LINE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "n": ("negative", str),
    "w": ("width", lambda text: eighths(_between(int, 8, 4096)(text))),
    "h": ("height", lambda text: eighths(_between(int, 8, 4096)(text))),
    "d": ("seed", lambda text: seed_number(int(text))),
    "l": ("guidance", _between(float, 0, 1000)),
    "s": ("steps", _between(int, 1, 1000)),
}
"""What a line may say: letter -> the field of the options, and how its value is read."""


class BadPromptFile(RegistryError):
    """A file of prompts cannot be read, or a line of it cannot be meant."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"'{path}' {reason}", "cns generate --help")


def requests_in(path: Path, options: GenerateOptions) -> list[GenerateOptions]:
    """Return a request for each prompt of a file, in its order.

    Args:
        path: UTF-8 text; it may come from anybody.
        options: What holds where a line says nothing else.

    Raises:
        BadPromptFile: it cannot be read, holds no prompt, or a line says what cannot be meant.
    """
    try:
        text = read_regular_file(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise BadPromptFile(path, f"cannot be read: {reason_of(error)}") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    wanted = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not 1 <= len(wanted) <= MOST:
        raise BadPromptFile(path, f"holds {len(wanted):,} prompts; expected 1 to {MOST:,}, one a line")
    requests = [request_of(line, options, path, number) for number, line in wanted]
    return list(_apart(requests)) if options.out is not None and len(requests) > 1 else requests


def request_of(line: str, options: GenerateOptions, path: Path, number: int) -> GenerateOptions:
    """Return what a line asks for."""
    prompt, *parts = re.split(r"\s+--(?=[a-zA-Z])", line)
    said: dict[str, Any] = {}
    for part in parts:
        letter, value = [*part.split(maxsplit=1), ""][:2]
        field, read = OF_LINE.get(letter.lower(), ("", str))
        if not field:
            known = ", ".join(f"--{one} {name}" for one, (name, _) in OF_LINE.items())
            raise BadPromptFile(path, f"line {number} says --{letter}; expected one of {known}")
        try:
            said[field] = read(value.strip())
        except ValueError as error:
            raise BadPromptFile(path, f"line {number} says --{part}: {error}") from None
    return replace(options, prompt=prompt.strip(), **said)


def _apart(requests: list[GenerateOptions]) -> Iterator[GenerateOptions]:
    """Number the file of each prompt, unless its name says which prompt it is."""
    for number, one in enumerate(requests, 1):
        assert one.out is not None
        same = one.out if "{prompt}" in one.out.name else one.out.with_name(f"{one.out.stem}-{number}{one.out.suffix}")
        yield replace(one, out=same)
