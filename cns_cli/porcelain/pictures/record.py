"""What a picture says of itself: the whole request that made it, and the model by content.

It holds what is needed to make the same pixels again and nothing about who made it: no path, no author, no time, no
machine. `files.py` writes it into files and finds it there. A picture comes from anybody, so a record that is
read is checked field by field, and a command made from it is quoted for the shell.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, get_args
from urllib.parse import quote

from cns.boxes import split_region
from cns.errors import RegionError
from cns_cli.optionfield import Dtype
from cns_cli.porcelain.result import Result
from registry.errors import RegistryError
from registry.names import is_id
from registry.objects import COMPOSES, Compose

FORMAT = "cns-picture/1"
MAX_CHARACTERS = 100_000
"""Of a record in a file. The longest that is written, with 64 regions and a long prompt, has a fifth of it."""

MAX_WHOLE = 2**64

_KEPT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ',:;"%')


class NoRecord(RegistryError):
    """A picture says nothing of its making, or what it says cannot be believed."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"'{name}' {reason}; expected a picture that cns generate wrote", "cns generate --help")


@dataclass(frozen=True, kw_only=True)
class PictureRecord(Result):
    """How a picture was made.

    Attributes:
        seed: Of this picture; of a sheet, of its first column.
        first_seed: Of the first picture of the same command; `n`: how many it made; `batch`: how many at a time.
        guidance: Classifier-free guidance scale.
        sampler: Class of the scheduler.
        regions: As typed, `rex@0,0.3,0.5,1`.
        at: Id of the commit, or of both ends of a range, `A..B`.
        commit, tree, base: Ids; of a range, those of its end.
        concepts: Concepts whose tokens the prompt names: name -> id.
        compose: What prompts saw: "all" concepts, or those that they "named"; None in pictures from before the choice.
        grid: The picture is a sheet of all `n`.
        sized: The size was asked for, and is not the base's own.
        dtype: Number format of the denoiser; None is float32.
        version: Of cns.
    """

    prompt: str
    negative: str | None = None
    seed: int
    first_seed: int
    n: int = 1
    batch: int = 1
    steps: int
    guidance: float
    sampler: str
    width: int
    height: int
    regions: tuple[str, ...] = ()
    at: str
    commit: str
    tree: str
    base: str
    concepts: Mapping[str, str] = field(default_factory=dict)
    compose: Compose | None = None
    grid: bool = False
    sized: bool = False
    dtype: str | None = None
    version: str

    def to_text(self) -> str:
        """The record as one line of JSON, in ASCII; a number format stands there only where it is not float32."""
        said = {name: value for name, value in self.to_json().items() if (name, value) != ("dtype", None)}
        return json.dumps({"format": FORMAT, **said}, sort_keys=True, separators=(",", ":"))

    def command(self) -> str:
        """The command that makes the same pixels again; of several pictures, all of them."""
        return self._command(self.first_seed, self.n, self.grid)

    def alone(self) -> str:
        """The command that makes this picture of several alone; sums in another order may shift a grey level."""
        return self._command(self.seed, 1, False)

    def parameters(self) -> str:
        """The lines that readers of A1111's pictures show."""
        parts = {
            "Steps": self.steps, "Sampler": self.sampler, "CFG scale": f"{self.guidance:g}", "Seed": self.seed,
            "Size": f"{self.width}x{self.height}", "Model hash": self.tree[:10], "Model": f"cns {self.commit[:10]}",
            "Version": f"cns {self.version}",
        }  # fmt: skip
        if self.regions:
            parts["Regions"] = "; ".join(map(_plain, self.regions))
        negative = [f"Negative prompt: {self.negative}"] if self.negative else []
        return "\n".join([self.prompt, *negative, ", ".join(f"{key}: {value}" for key, value in parts.items())])

    def _command(self, seed: int, n: int, grid: bool) -> str:
        words = ["--at", self.at, "--seed", str(seed)]
        words += ["-n", str(n)] if n > 1 else []
        words += ["--steps", str(self.steps), "--guidance", repr(self.guidance)]
        words += ["--negative", self.negative] if self.negative else []
        words += ["--compose", self.compose] if self.compose else []
        words += ["--dtype", self.dtype or "float32"]  # which is not what all devices draw in by themselves
        words += ["--width", str(self.width), "--height", str(self.height)] if self.sized else []
        for region in self.regions:
            words += ["--region", region]
        words += ["--grid"] if grid and ".." not in self.at else []
        words += ["--batch", str(self.batch)] if n > 1 else []
        after = self.prompt.startswith("-")  # where it would be taken for an option
        return shlex.join(["cns", "generate", *([*words, "--", self.prompt] if after else [self.prompt, *words])])


def read_record(text: str, name: str) -> PictureRecord:
    """Read what `to_text` wrote, from a file called `name`.

    Raises:
        NoRecord: It is no such text, of another format, or a field is not what it must be.
    """
    if len(text) > MAX_CHARACTERS:
        raise NoRecord(name, f"holds a record of {len(text):,} characters")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise NoRecord(name, "holds a record that is no JSON") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise NoRecord(name, f"holds no record of the format {FORMAT}")
    found = {one.name: data[one.name] for one in fields(PictureRecord) if one.name in data}
    for key, believable in _FIELDS.items():
        if not believable(found.get(key)):
            raise NoRecord(name, f"holds a record whose {key} cannot be meant")
    return PictureRecord(**{**found, "regions": tuple(found["regions"]), "guidance": float(found["guidance"])})


def _plain(region: str) -> str:
    """A region without what ends a value in such lines: commas of a box are blanks, other marks are %-encoded."""
    what, box = region.rpartition("@")[::2]
    return f"{quote(what, safe=_KEPT)}@{box.replace(',', ' ')}"


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < MAX_WHOLE


def _is_scale(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_region(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(split_region(value))
    except RegionError:
        return False


_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("prompt", "sampler", "version"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("seed", "first_seed"), partial(_is_whole, least=0)),
    **dict.fromkeys(("n", "batch", "steps", "width", "height"), partial(_is_whole, least=1)),
    **dict.fromkeys(("commit", "tree", "base"), is_id),
    "at": lambda value: isinstance(value, str) and value.count("..") <= 1 and all(map(is_id, value.split(".."))),
    "negative": lambda value: value is None or isinstance(value, str),
    "compose": lambda value: value is None or value in COMPOSES,
    "dtype": lambda value: value is None or value in get_args(Dtype)[1:],
    "grid": lambda value: isinstance(value, bool),
    "sized": lambda value: value is None or isinstance(value, bool),
    "guidance": _is_scale,
    "concepts": lambda value: isinstance(value, dict) and all(map(is_id, value.values())),
    "regions": lambda value: isinstance(value, list) and all(map(_is_region, value)),
}
"""What each field of a record that is read must be."""
