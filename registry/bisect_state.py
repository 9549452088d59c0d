"""The state of a running bisection: one file, `.cns/bisect.json`, replaced as a whole at each answer.

Canonical JSON with a checksum over its content, written through `fsio`: a kill leaves the state before or after an
answer, and a flipped bit is an error. It holds full commit ids only, and where HEAD was, so that `reset` can go back.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from registry import canonical, fsio, locks
from registry.errors import BadValue, RegistryError, UnknownFormat
from registry.names import is_id, is_ref_name

FILE = "bisect.json"
LOCK = "bisect.lock"
FORMAT = 1


class NoBisection(RegistryError):
    """A bisection is needed and none is running, or it does not know enough yet."""

    def __init__(self, reason: str, hint: str = "cns bisect start BAD GOOD") -> None:
        self.reason = reason
        super().__init__(reason, hint)


class BisectDamaged(RegistryError):
    """The file that holds a running bisection is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"'{path}' is damaged: {reason}; expected the state of a bisection. Commits and refs are not concerned",
            "cns bisect reset",
        )


@dataclass(frozen=True)
class Watch:
    """A score that tells good from bad, so that no person and no script is needed.

    Attributes:
        concept: Name of the concept.
        metric: Name of the metric, such as "clip-i".
        drop: Its drop since the baseline instead of its mean now.
        below: Bad where the value is below this; None where `above` is asked.
        above: Bad where the value is above this.
    """

    concept: str
    metric: str
    drop: bool
    below: float | None
    above: float | None

    @property
    def name(self) -> str:
        """As it is typed: `rex.clip-i`, `rex.id.drop`."""
        return f"{self.concept}.{self.metric}{'.drop' if self.drop else ''}"

    @property
    def words(self) -> str:
        """The options that ask for it, as they are typed."""
        limit = f"--below {self.below!r}" if self.below is not None else f"--above {self.above!r}"
        return f"--metric {self.name} {limit}"

    def is_bad(self, value: float) -> bool:
        """Whether a value is on the bad side."""
        return value < self.below if self.below is not None else value > (self.above or 0.0)


@dataclass(frozen=True)
class BisectState:
    """What a bisection knows.

    Attributes:
        branch: The branch that HEAD followed at the start, None where it was detached.
        commit: The commit that HEAD was at.
        bad: The oldest commit known to be bad. good, skipped: Commits.
        expected: The commit that was checked out and waits for an answer.
        watch: The score that decides, where `start` was told one.
        values: Commit -> what was measured of that score.
        log: Lines that repeat the bisection when typed, with comments.
    """

    branch: str | None
    commit: str
    bad: str | None = None
    good: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    expected: str | None = None
    watch: Watch | None = None
    values: dict[str, float] = field(default_factory=dict)
    log: tuple[str, ...] = ()


def load(folder: Path) -> BisectState | None:
    """Return the state in a `.cns` folder, or None where no bisection is running.

    Raises:
        BisectDamaged: the file is not what was written. UnknownFormat: a newer version wrote it.
    """
    path = folder / FILE
    content = fsio.read(path)
    if content is None:
        return None
    try:
        data = canonical.decode(content.removesuffix(b"\n"))
    except BadValue as error:
        raise BisectDamaged(path, error.message) from error
    if not isinstance(data, dict) or set(data) != {"check", "format", "state"}:
        raise BisectDamaged(path, "it has other fields")
    if data["check"] != _check(data["format"], data["state"]):
        raise BisectDamaged(path, "it does not match its checksum")
    if data["format"] != FORMAT:
        raise UnknownFormat(f"'{path}'", data["format"], FORMAT)
    try:
        return _state(data["state"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BisectDamaged(path, f"{type(error).__name__}: {error}") from error


def save(folder: Path, state: BisectState) -> None:
    """Write the state, atomically and durably."""
    data = asdict(state)
    sealed = {"check": _check(FORMAT, data), "format": FORMAT, "state": data}
    fsio.replace(folder / FILE, canonical.encode(sealed) + b"\n")


def remove(folder: Path) -> bool:
    """Forget the state, durably; False where there is none."""
    return fsio.remove(folder / FILE)


def locked(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock under which the state is read and replaced; HEAD's own lock is taken inside it."""
    return locks.hold(folder / LOCK)


def _state(data: dict[str, Any]) -> BisectState:
    watch = None if data["watch"] is None else Watch(**data["watch"])
    values = {**data, "watch": watch, **{name: tuple(data[name]) for name in ("good", "skipped", "log")}}
    state = BisectState(**values)
    if set(values) != {one.name for one in fields(state)}:
        raise ValueError("a field is missing")
    ids = [state.commit, *state.good, *state.skipped, *state.values, *filter(None, (state.bad, state.expected))]
    if not all(is_id(one) for one in ids) or not (state.branch is None or is_ref_name(state.branch)):
        raise ValueError("an id is not one")
    return state


def _check(number: Any, state: Any) -> str:
    return hashlib.sha256(canonical.encode([number, state])).hexdigest()[:16]
