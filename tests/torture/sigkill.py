"""R1: SIGKILL at every system call that changes `.cns`; the registry is as before or as after, and goes on.

Each point is a process of its own (`operations.py`) on a fresh copy of a registry. It is killed before one call. Then
all is read and verified, what had been acknowledged is looked for, and the next commands must work without a repair.
The commit starts from ready objects, so that no point pays for torch.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import RegistryError
from registry.repository import Repository
from tests.registry.making import add, new_repository
from tests.torture import operations
from tests.torture.injection import Traced, command_of, dies_at, missing, spread
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, State, check_with_fsck, state_of

# Points of each operation in the quick size: most for those that the goal names. Those that write the index are left to
# the full size, since each of them imports sqlite-utils.
QUICK = {name: 5 for name in operations.OPERATIONS if name != "commit, index written"}
QUICK |= dict.fromkeys(("init", "commit", "three commits and checkouts", "undo", "gc"), 18)


@dataclass
class Tally:
    """What became of the points of one operation.

    Attributes:
        acknowledged: Steps that had been, before the harm. refused: How often a command ended with a message.
    """

    tried: int = 0
    acknowledged: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


class RegistryUnderTest:
    """A registry that an operation is run on again and again, each time from the same state."""

    def __init__(self, scratch: Path, operation: str) -> None:
        self.operation = operation
        self.template = scratch / "template"
        self.folder = scratch / "dogs"
        if operation != "init" and not self.template.exists():
            operations.make_registry(self.template, operation)

    def fresh(self) -> Path:
        """Put the registry back to where the operation starts."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.operation == "init":
            self.folder.mkdir()
        else:
            shutil.copytree(self.template, self.folder)
        return self.folder

    def state(self) -> State | None:
        """What the registry says; None where there is none, as before `init`."""
        if not (self.folder / ".cns").exists():
            return None
        repository = Repository(self.folder)
        check_with_fsck(repository)
        return state_of(repository)

    @property
    def below(self) -> Path:
        """The registry's folder, or what it is called while it is made: the start of the paths that count."""
        return self.folder / ".cns"

    def traced(self) -> Traced:
        """The operation as a process under strace."""
        return Traced(command_of(self.operation, self.folder), self.below)

    def states(self) -> list[State | None]:
        """Run the operation unharmed, and return what the registry says before it and after each of its steps."""
        self.fresh()
        states = [self.state()]
        states += [self.state() for _ in operations.OPERATIONS[self.operation](self.folder)]
        return states

    def judge(self, point: str, said: str, states: list[State | None], tally: Tally) -> None:
        """Look at the registry after a death; `said` has a line for each step that was acknowledged."""
        done = said.count("\n")
        tally.tried += 1
        tally.acknowledged += done
        where = f"{self.operation}, {point}"
        try:
            found = self.state()
            if found not in states:
                raise Broken("neither as before nor as after")
            if found not in states[done : done + 2]:
                tally.lost.append(f"{where}: {done} steps were acknowledged and the registry is at another")
        except (RegistryError, Broken, OSError, AssertionError) as error:
            tally.corrupt.append(f"{where}: {error}")
            return
        try:
            self._go_on()
        except (RegistryError, Broken, OSError) as error:
            tally.lost.append(f"{where}: the next command fails: {error}")

    def _go_on(self) -> None:
        repository = Repository(self.folder) if (self.folder / ".cns").exists() else new_repository(self.folder)
        made = add(repository, "next").id
        repository.checkout(made, time=0)
        state_of(Repository(self.folder))


def kill_at_calls(tested: RegistryUnderTest, limit: int | None) -> Tally:
    """Kill an operation at its points (all of them, or `limit`), by strace."""
    tally = Tally()
    states = tested.states()
    tested.fresh()
    points = tested.traced().points()
    for point in points if limit is None else spread(points, limit):
        tested.fresh()
        ended = tested.traced().inject(point, "signal=KILL")
        assert ended.killed, f"{point} was not reached: {ended}"
        tested.judge(f"{point.call} {point.number} ({point.arguments})", ended.out, states, tally)
    return tally


def kill_during_writes(tested: RegistryUnderTest, limit: int | None) -> Tally:
    """Kill an operation in the middle of each write (and before each other call), in a fork of this process."""
    tally = Tally()
    act = operations.OPERATIONS[tested.operation]
    states = tested.states()
    for step in _steps(limit):
        tested.fresh()
        with tempfile.TemporaryFile() as said:
            handle = said.fileno()
            if not dies_at(step, True, lambda handle=handle: operations.acknowledge(act(tested.folder), handle)):  # type: ignore[misc]
                break
            said.seek(0)
            tested.judge(f"call {step}, torn", said.read().decode(), states, tally)
    return tally


def _steps(limit: int | None) -> Iterator[int]:
    """All steps; or about limit, ever further apart."""
    step = 1
    for count in range(1, 10_000):
        yield step
        step += 1 if limit is None else 1 + count * 100 // limit**2


def control(scratch: Path, within: str) -> Tally:
    """Strike a writer that writes in place, where the path holds `within`: the harness must find what that damages."""
    tested, tally = RegistryUnderTest(scratch, "commit"), Tally()
    states = tested.states()
    tested.operation = operations.CONTROL
    tested.fresh()
    points = [point for point in tested.traced().points(("write",)) if within in point.arguments]
    for point in points:
        tested.fresh()
        ended = tested.traced().inject(point, "signal=KILL")
        tested.judge(f"{point.call} {point.number}", ended.out, states, tally)
    return tally


def run(size: Size) -> list[Trial]:
    """Kill every operation at its points: all of them, or about 110 in all."""
    reason = missing()
    trials = [Trial("R1", "SIGKILL by strace", 0, 0, 0, f"not tried: {reason}", 0.0)] if reason else []
    for how, what in (
        (kill_at_calls, "SIGKILL before a system call"),
        (kill_during_writes, "death in the middle of a write"),
    ):
        if how is kill_at_calls and reason:
            continue
        for operation in operations.OPERATIONS:
            if size == "quick" and operation not in QUICK:
                continue
            limit = None if size == "full" else QUICK[operation]
            with scratch_folder() as scratch:
                began = time.monotonic()
                tally = how(RegistryUnderTest(scratch, operation), limit)
                trials.append(_row(f"{what}: {operation}", tally, time.monotonic() - began))
    return trials if reason else [*trials, _controlled(size)]


def _controlled(size: Size) -> Trial:
    began = time.monotonic()
    with scratch_folder() as scratch:
        tally = control(scratch, "" if size == "full" else "/refs/")
    found = len(tally.corrupt) + len(tally.lost)
    note = f"control: a naive writer; {found} of {tally.tried} deaths damaged it, as they should"
    return Trial("R1", "harness finds faults", tally.tried, 0, int(found == 0), note, time.monotonic() - began)


def _row(what: str, tally: Tally, seconds: float) -> Trial:
    shown = "; ".join([*tally.corrupt, *tally.lost][:3])
    note = shown or f"{tally.acknowledged} steps had been acknowledged"
    return Trial("R1", what, tally.tried, len(tally.lost), len(tally.corrupt), note, seconds)
