"""R1 and R3 of sharing: a kill, or a power cut, at any point of push, fetch, clone and bundle.

After each, no registry has anything that fsck minds, what the remote's log names can be fetched, a bundle is as before
or whole, and the same command, typed again, ends well.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.errors import RegistryError
from registry.health.fsck import fsck
from registry.repository import Repository
from registry.sharing import bundle
from registry.sharing.bundle import BundleRemote
from registry.sharing.folder import FolderRemote
from registry.sharing.opening import open_remote
from registry.sharing.remote import fold
from tests.torture.disk import LUCKS, Disk
from tests.torture.injection import Traced, dies_at, isolated, missing, spread
from tests.torture.powerloss import in_place_of_the_system
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.transfers import OPERATIONS, make

PROGRAM = Path(__file__).with_name("transfers.py")
QUICK = 3
NEEDED = {"push": ("ann", "shared"), "fetch": ("bob", "full"), "clone": ("full",), "bundle": ("ann",)}


def look(folder: Path, operation: str) -> list[str]:
    """Return what is wrong after a kill or a power cut."""
    if operation in ("bundle", "push"):
        bundle.verify(open_remote(str(folder / {"bundle": "x.bundle", "push": "shared"}[operation])))
    place = folder / {"push": "ann", "fetch": "bob", "clone": "new", "bundle": "ann"}[operation]
    return harm(place) if (place / ".cns" / "HEAD").exists() else []


def harm(place: Path) -> list[str]:
    """Return the damage that fsck finds in a registry; a line of a log that was torn is none."""
    findings = fsck(place / ".cns")[0].findings
    return [finding.what for finding in findings if finding.level == "error"]


def typed_again(folder: Path, operation: str) -> str:
    """Do the operation once more, unless a clone was whole already, and return where it has brought main."""
    if not (operation == "clone" and (folder / "new" / ".cns").exists()):
        OPERATIONS[operation](folder)
    if operation == "push":
        return fold(FolderRemote(folder / "shared").moves())[0]["refs/heads/main"]
    if operation == "bundle":
        return BundleRemote(folder / "x.bundle").refs["refs/heads/main"]
    return Repository(folder / ("bob" if operation == "fetch" else "new")).resolve("origin/main")


class Judged:
    """What became of the points of one operation, each on a fresh copy of what `make` made."""

    def __init__(self, scratch: Path, operation: str) -> None:
        self.operation = operation
        self.template = make(scratch / "template")
        self.tip = Repository(self.template / "ann").branches()["main"]
        self.folder = scratch / "work"
        self.tried = 0
        self.wrong: list[str] = []

    def fresh(self) -> Path:
        """Put everything back to where the operation starts."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in NEEDED[self.operation]:
            shutil.copytree(self.template / name, self.folder / name)
        if self.operation == "bundle":
            shutil.copyfile(self.template / "x.bundle", self.folder / "x.bundle")
        return self.folder

    def judge(self, point: str) -> None:
        """Look at what is left."""
        self.tried += 1
        try:
            found = look(self.folder, self.operation)
            if (main := typed_again(self.folder, self.operation)) != self.tip:
                found.append(f"main is at {main[:10]} when it was typed again")
            found += look(self.folder, self.operation)
        except (RegistryError, OSError, KeyError) as error:
            found = [f"{type(error).__name__}: {error}"]
        self.wrong += [f"{self.operation}, {point}: {what}" for what in found]

    def traced(self) -> Traced:
        """The operation as a process under strace."""
        return Traced(isolated(PROGRAM, self.operation, self.folder), self.folder)


def kill_at_calls(judged: Judged, limit: int | None) -> None:
    """SIGKILL before system calls of a real process: all of them, or about `limit`."""
    judged.fresh()
    points = judged.traced().points()
    for point in points if limit is None else spread(points, limit):
        judged.fresh()
        ended = judged.traced().inject(point, "signal=KILL")
        assert ended.killed, f"{point} was not reached: {ended}"
        judged.judge(f"{point.call} {point.number} ({point.arguments})")


def kill_during_writes(judged: Judged, limit: int | None) -> None:
    """Death before every call, and in the middle of every write, in forks of this process."""
    step = 1
    while True:
        judged.fresh()
        if not dies_at(step, True, lambda: OPERATIONS[judged.operation](judged.folder)):
            return
        judged.judge(f"call {step}, torn")
        step += 1 if limit is None else 1 + step * 2 // limit


def power_cuts(judged: Judged, limit: int | None) -> None:
    """The power goes at points of the operation, and what was not synced has each of the fates of `Disk`."""
    for share in range(0, 1001, 5 if limit is None else max(1, 1000 // (limit - 1))):
        for luck in LUCKS if limit is None else LUCKS[share % 2 :: 2]:
            disk = Disk(judged.fresh())
            with in_place_of_the_system(disk):
                OPERATIONS[judged.operation](judged.folder)
            point = disk.points[share * (len(disk.points) - 1) // 1000]
            disk.after_power_cut(point, luck, share)
            judged.judge(f"power cut at {point}, {luck}")


def trials(goal: str, size: Size) -> Iterator[Trial]:
    """Yield the rows of R1 or R3 that are about sharing."""
    ways: dict[str, Any] = {"death in the middle of a write": kill_during_writes}
    if not missing():
        ways["SIGKILL before a system call"] = kill_at_calls
    if goal == "R3":
        ways = {"power cut": power_cuts}
    for what, way in ways.items():
        for operation in OPERATIONS:
            began = time.monotonic()
            with scratch_folder() as scratch:
                judged = Judged(scratch, operation)
                way(judged, None if size == "full" else QUICK)
            note = "; ".join(judged.wrong[:3])
            seconds = time.monotonic() - began
            yield Trial(goal, f"{what}: {operation}", judged.tried, 0, len(judged.wrong), note, seconds)
