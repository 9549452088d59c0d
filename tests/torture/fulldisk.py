"""R4: the disk is full, over quota, or broken. The message says so, the old state is intact, the next try works.

By strace, a system call that touches `.cns` fails, once or from then on: ENOSPC, EDQUOT, EIO. And for real: a small
tmpfs in a mount namespace of its own is filled up to the last page (`tests.torture.tmpfs`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import RegistryError
from tests.torture import operations
from tests.torture.injection import Ended, Point, missing, parsed, spread
from tests.torture.scratch import scratch_folder
from tests.torture.sigkill import RegistryUnderTest, Tally
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, State

ERRORS = ("ENOSPC", "EDQUOT", "EIO")
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "mkdir", "utimensat", "openat")
DISK_FAILED = 4  # the exit code of a failure of the registry, of `operations.py` as of `cns`
WRITES = ("write", "pwrite64", "fsync", "fdatasync", "rename")
# They make no call that the others do not make.
LEFT_OUT = (
    *("three commits and checkouts", "commit, tip moved", "commit, index written"),
    *("merge commit", "reset", "undo"),
)
# Points of each operation in the quick size; the others are left to the full one.
QUICK = {"commit": 12, "checkout a branch": 6, "init": 6}


@dataclass(frozen=True)
class Fault:
    """One way for a call to fail."""

    point: Point
    error: str
    ever_after: bool

    def __str__(self) -> str:
        often = "from then on" if self.ever_after else "once"
        return f"{self.error} {often} at {self.point.call} {self.point.number} ({self.point.arguments[-90:]})"


def fail(tested: RegistryUnderTest, limit: int | None) -> Tally:
    """Let every call of an operation (or `limit` of them) fail in every way, and then try again."""
    tally = Tally()
    states = tested.states()
    for fault in faults(tested, limit):
        tested.fresh()
        ended = tested.traced().inject(
            fault.point, f"error={fault.error}", ever_after=fault.ever_after, watch=("fsync",)
        )
        if not any("INJECTED" in result and str(tested.below) in where for _, where, result in parsed(ended.log)):
            continue  # more or fewer files were imported than the first time, and another call was met
        tally.tried += 1
        tally.refused += ended.code == DISK_FAILED
        try:
            _judge(tested, fault, ended, states)
        except (RegistryError, Broken, OSError) as error:
            tally.corrupt.append(f"{tested.operation}, {fault}: {error}")
    return tally


def faults(tested: RegistryUnderTest, limit: int | None) -> Iterator[Fault]:
    """Every call of an operation that changes `.cns`, in every way that it can fail."""
    tested.fresh()
    points = [
        point for point in tested.traced().points(CALLS) if point.call != "openat" or "O_CREAT" in point.arguments
    ]
    if limit is not None:
        for place, point in enumerate(spread(points, limit)):
            yield Fault(point, ERRORS[place % 3], place % 2 == 0)
        return
    for place, point in enumerate(points):
        # Of the calls that only prepare, such as making a folder, one error each.
        for error in ERRORS if point.call in WRITES else ERRORS[place % 3 : place % 3 + 1]:
            yield Fault(point, error, ever_after=False)
            yield Fault(point, error, ever_after=True)


def _judge(tested: RegistryUnderTest, fault: Fault, ended: Ended, states: list[State | None]) -> None:
    done = ended.out.count("\n")
    if ended.code not in (0, DISK_FAILED):
        raise Broken(f"exit code {ended.code}: {ended.err[-300:]}")
    if ended.code == 0 and done != len(states) - 1:
        raise Broken("it says nothing and did not do it")
    if ended.code == DISK_FAILED:
        check_message(ended.err, fault.error)
    check_no_second_fsync(ended.log)
    found = tested.state()
    if found not in states[done : done + 2]:
        raise Broken("neither as before nor as after")
    if len(states) > 2:  # some of its steps may be done, and are refused the second time: another command, then
        list(operations.commit_last(tested.folder))
        tested.state()
        return
    again(tested, was_done=found == states[-1])
    if states[-1] not in (found, tested.state()):
        raise Broken("the second try did not come to the same end")


def again(tested: RegistryUnderTest, was_done: bool) -> None:
    """Try again, unharmed. Where only the last fsync had failed, the registry may refuse what is done already."""
    try:
        list(operations.OPERATIONS[tested.operation](tested.folder))
    except RegistryError:
        if not was_done:
            raise


def check_message(said: str, error: str) -> None:
    """The message names what was tried, on which file, and why; the next line, what to do."""
    reason = {"ENOSPC": "No space left on device", "EDQUOT": "Disk quota exceeded", "EIO": "Input/output error"}[error]
    first, _, hint = said.partition("\n")
    if not first.startswith("cannot ") or ".cns" not in first or reason not in first:
        raise Broken(f"the message is not clear: {first!r}")
    if ("free some space" in hint) != (error != "EIO") or not hint:
        raise Broken(f"the next step is not said: {hint!r}")


def check_no_second_fsync(log: str) -> None:
    """After a failed fsync the kernel may have dropped what it could not write: a second one would succeed, and lie."""
    failed: set[str] = set()
    for call, arguments, result in parsed(log):
        if call == "fsync":
            if arguments in failed:
                raise Broken(f"a failed fsync was tried again: {arguments}")
            if result.startswith("-1"):
                failed.add(arguments)


def missing_namespace() -> str:
    """Return why no file system can be mounted here; empty where it can."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True)
    except OSError as error:
        return f"unshare: {error}"
    return "" if done.returncode == 0 else f"no file system may be mounted here: {done.stderr.strip()[:120]}"


def fill(scratch: Path, operation: str, pages: list[int]) -> Tally:
    """Run an operation on a real full file system, with so many pages of it free; see `tests.torture.tmpfs`."""
    place = scratch / "mount"
    place.mkdir(exist_ok=True)
    inside = [sys.executable, "-m", "tests.torture.tmpfs", operation, str(scratch), *map(str, pages)]
    script = f'mount -t tmpfs -o size=8m,nr_inodes=8k none "{place}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *inside]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Tally(**json.loads(done.stdout))


def run(size: Size) -> list[Trial]:
    """Fail every call of every operation; fill a real file system up to each of its last pages."""
    trials = []
    for operation in operations.OPERATIONS:
        if missing() or operation in LEFT_OUT or (size == "quick" and operation not in QUICK):
            continue
        began = time.monotonic()
        with scratch_folder() as scratch:
            tally = fail(RegistryUnderTest(scratch, operation), None if size == "full" else QUICK[operation])
        trials.append(_row(f"a call fails: {operation}", tally, time.monotonic() - began))
    for operation in operations.OPERATIONS:
        if missing_namespace() or operation in LEFT_OUT or (size == "quick" and operation not in QUICK):
            continue
        began = time.monotonic()
        with scratch_folder() as scratch:
            tally = fill(scratch, operation, list(range(0, 80, 1 if size == "full" else 10)))
        trials.append(_row(f"a full tmpfs: {operation}", tally, time.monotonic() - began))
    reasons = [reason for reason in (missing(), missing_namespace()) if reason]
    return [*trials, *(Trial("R4", "not tried", 0, 0, 0, reason, 0.0) for reason in reasons)]


def _row(what: str, tally: Tally, seconds: float) -> Trial:
    shown = "; ".join([*tally.corrupt, *tally.lost][:3]) or f"{tally.refused} of them ended with a message"
    return Trial("R4", what, tally.tried, len(tally.lost), len(tally.corrupt), shown, seconds)
