"""R12: `cns add` on hostile folders of images, each in a process whose time and memory are measured.

A folder that must be refused goes through `cns add` as a user types it, in a registry of its own; what `.cns` holds
must be the same afterwards. A folder that must be taken goes through the loader alone, since a training would follow.
Within the limits: five seconds (of CPU, and thirty of the clock on a machine that others use too) and a gigabyte.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from tests.registry.making import new_repository
from tests.torture.hostile_folders import FOLDERS, Outcome
from tests.torture.table import Size, Trial

ROOT = Path(__file__).resolve().parents[2]
MAX_CPU_S = 5.0
MAX_WALL_S = 30.0
MAX_BYTES = 10**9
# A process counts as its own what its parent held when it was forked, so its peak is taken from where exec resets it.
PEAK = """import atexit, sys
place = sys.argv[1]
atexit.register(lambda: open(place, 'w').write(
    next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]))
del sys.argv[1]
"""
LOADER = PEAK + "import pathlib; from cns.files.images import load_images; load_images(pathlib.Path(sys.argv[1]), 512)"
ADD = PEAK + "from cns_cli.main import main; main()"
UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", "--")


@dataclass(frozen=True)
class Measured:
    """One process that ended.

    Attributes:
        code: Its exit code.
        cpu_s: Seconds of CPU; wall_s: of the clock.
        memory: Its largest resident size, bytes.
        stderr: What it said.
    """

    code: int
    cpu_s: float
    wall_s: float
    memory: int
    stderr: str


def measured(words: list[str], folder: Path, stdout: Path) -> Measured:
    """Run a program in a folder and measure it."""
    errors = stdout.with_suffix(".err")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CNS_AUTHOR": "ann"}
    began = time.monotonic()
    with stdout.open("wb") as out, errors.open("wb") as err:
        child = subprocess.Popen(words, cwd=folder, stdout=out, stderr=err, env=environment, start_new_session=True)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    said = errors.read_text("utf-8", "surrogateescape")
    peak = stdout.with_suffix(".peak")
    memory = int(peak.read_text()) * 1024 if peak.exists() else usage.ru_maxrss * 1024
    return Measured(child.returncode, usage.ru_utime + usage.ru_stime, wall, memory, said)


def contents(folder: Path) -> dict[str, str]:
    """{file: digest} of everything below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def attempt(name: str, scratch: Path) -> tuple[list[str], Measured | None]:
    """Try one folder; return what is wrong."""
    photos = scratch / "photos"
    photos.mkdir()
    registry = Path(shutil.copytree(_registry(), scratch / "registry"))
    outcome = FOLDERS[name](photos)
    if outcome is None:
        return [], None
    peak = str(scratch / "out.peak")
    words = [sys.executable, "-c", LOADER, peak, str(photos)]
    if outcome == "refused":
        words = [sys.executable, "-c", ADD, peak, "add", "rex", str(photos), "--class", "dog"]
    if "may not be read" in name and os.geteuid() == 0:
        if shutil.which(UNPRIVILEGED[0]) is None:
            return [], None
        words = [*UNPRIVILEGED, *words]
    before = contents(registry)
    found = measured(words, registry, scratch / "out")
    wrong = _wrong(outcome, found)
    if contents(registry) != before:
        wrong.append("the registry changed")
    return [f"{name}: {what}" for what in wrong], found


_made: list[Path] = []


def _registry() -> Path:
    if not _made:
        _made.append(Path(tempfile.mkdtemp(prefix="cns-images-")) / "registry")
        new_repository(_made[0])
    return _made[0]


def _wrong(outcome: Outcome, found: Measured) -> list[str]:
    wrong = []
    if outcome == "taken" and found.code != 0:
        wrong.append(f"it was refused: {found.stderr[-300:]}")
    if outcome == "refused":
        wrong += complaints(found.code, found.stderr)
    if found.cpu_s > MAX_CPU_S or found.wall_s > MAX_WALL_S:
        wrong.append(f"it took {found.cpu_s:.1f} s of CPU, {found.wall_s:.1f} s")
    if found.memory > MAX_BYTES:
        wrong.append(f"it took {found.memory / 1e6:.0f} MB")
    return wrong


def complaints(code: int, stderr: str) -> list[str]:
    """What a refusal lacks: the exit code, what is wrong, the next step; or what it must not have."""
    wrong = []
    if code not in (2, 5):
        wrong.append(f"exit code {code}: {stderr[-300:]}")
    if "error: " not in stderr or not ("  hint: " in stderr or "  try: " in stderr):
        wrong.append(f"no error with a next step: {stderr[-300:]}")
    odd = {char for char in stderr if char != "\n" and unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")}
    if odd:
        wrong.append(f"control characters {sorted(odd)}")
    if len(stderr) > 4000:
        wrong.append(f"{len(stderr):,} characters of error")
    return wrong


def run(size: Size) -> list[Trial]:
    """Try every folder, in both sizes."""
    began = time.monotonic()
    wrong: list[str] = []
    skipped: list[str] = []
    slowest, largest, tried = 0.0, 0, 0
    for name in FOLDERS:
        with tempfile.TemporaryDirectory(prefix="cns-hostile-") as scratch:
            finds, found = attempt(name, Path(scratch))
        if found is None:
            skipped.append(name)
            continue
        tried += 1
        wrong += finds
        slowest, largest = max(slowest, found.cpu_s), max(largest, found.memory)
    note = "; ".join(
        [
            f"slowest {slowest:.1f} s of CPU, largest {largest / 1e6:.0f} MB",
            *[f"not here: {name}" for name in skipped],
            *wrong,
        ]
    )
    return [Trial("R12", "hostile folders of images", tried, 0, len(wrong), note, time.monotonic() - began)]
