"""R5: flipped bits and cut files, each of which `fsck` must name and no read may believe.

A tiny registry holds an object of every kind, refs of several namespaces, HEAD and reflogs. One file at a time is
damaged and put back. "Found" means that `fsck` names that very file; "refused" that reading it raises, so that nothing
damaged becomes a weight.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.errors import RegistryError, UnknownFormat
from registry.health.fsck import fsck
from registry.health.scan import Scan
from registry.objects import KINDS, Erasure, Record
from registry.repository import Repository
from tests.registry.making import add, evaluation, new_repository
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial

CUT_EVERY = 512
RANDOM_FLIPS = {"quick": 130, "full": 10_000}  # of each kind
WHOLE_EVERY = {"quick": 20, "full": 100}  # of random flips, also a whole fsck instead of a look at the one object
HEADER_STEP = {"quick": 23, "full": 1}  # of the bits of headers and names, every so manieth
SEED = 5


@dataclass
class Tally:
    """How many damages were done; those that fsck did not name, and those that a read believed."""

    tried: int = 0
    missed: list[str] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)


def run(size: Size) -> list[Trial]:
    """Damage one file after another."""
    trials = []
    with scratch_folder() as folder:
        repository = make(folder)
        for what, damage in TRIALS.items():
            began = time.monotonic()
            tally = damage(repository, size)
            note = "; ".join([*tally.missed, *tally.believed][:3])
            seconds = time.monotonic() - began
            trials.append(Trial("R5", what, tally.tried, len(tally.believed), len(tally.missed), note, seconds))
    return trials


def make(folder: Path) -> Repository:
    """A registry with an object of every kind, and with blobs large enough to be cut more than once."""
    repository = new_repository(folder / "registry")
    noise = random.Random(SEED)
    blobs = [repository.objects.write("blob", noise.randbytes(2000 + 100 * number)) for number in range(3)]
    add(repository, "rex", mask=blobs[0], delta=blobs[1], embedding=blobs[2])
    repository.add_evaluation(evaluation(repository, "rex", scores=[noise.random() for _ in range(200)]))
    erased = repository.objects.put(Erasure(repository.tree_of("HEAD").base, {"dog": ""}, blobs[0], blobs[1]))
    repository.commit(
        kind="erase", message="erase dog", author="Ada", time=5, record=Record({}),
        change=lambda tree: replace(tree, erasure=erased), seen=repository.head().commit, keep_as="dog",
    )  # fmt: skip
    repository.create_tag("v1", time=5)
    repository.create_branch("Side/a", time=5)
    repository.checkout("Side/a", author="Ada", time=6)
    repository.checkout("main", author="Ada", time=7)
    assert {repository.objects.kind_of(known) for known in repository.objects.ids()} == set(KINDS)
    return repository


def flip_headers(repository: Repository, size: Size) -> Tally:
    """Flip the bits of every object's header line."""
    tally, step, count = Tally(), HEADER_STEP[size], 0
    for known in sorted(repository.objects.ids()):
        path = repository.objects.path(known)
        header = path.read_bytes().index(b"\n") + 1
        for bit in range(header * 8):
            count += 1
            if count % step == 0:
                _try(repository, path, lambda content, bit=bit: _flipped(content, bit), tally, known)  # type: ignore[misc]
    return tally


def flip_names(repository: Repository, size: Size) -> Tally:
    """Flip the bits of every ref, of HEAD, of every reflog and of the format file."""
    tally, step, count = Tally(), HEADER_STEP[size], 0
    for path in names(repository):
        for bit in range(len(path.read_bytes()) * 8):
            count += 1
            if count % step == 0:
                _try(repository, path, lambda content, bit=bit: _flipped(content, bit), tally)  # type: ignore[misc]
    return tally


def flip_anywhere(repository: Repository, size: Size) -> Tally:
    """Flip random bits of objects, as many of each kind."""
    tally, noise = Tally(), random.Random(SEED)
    for kind in KINDS:
        known = [one for one in sorted(repository.objects.ids()) if repository.objects.kind_of(one) == kind]
        for number in range(RANDOM_FLIPS[size]):
            wanted = noise.choice(known)
            path = repository.objects.path(wanted)
            bit = noise.randrange(path.stat().st_size * 8)
            whole = number % WHOLE_EVERY[size] == 0
            _try(repository, path, lambda content, bit=bit: _flipped(content, bit), tally, wanted, whole=whole)  # type: ignore[misc]
    return tally


def cut(repository: Repository, size: Size) -> Tally:
    """Cut every file at every 512 bytes, at its end but one byte, and lengthen it by one."""
    tally = Tally()
    for path in [*map(repository.objects.path, sorted(repository.objects.ids())), *names(repository)]:
        known = path.parent.name + path.name if "objects" in path.parts else ""
        length = path.stat().st_size
        for at in sorted({*range(0, length, CUT_EVERY), length - 1}):
            _try(repository, path, lambda content, at=at: content[:at], tally, known)  # type: ignore[misc]
        _try(repository, path, lambda content: content + b"\0", tally, known)
    return tally


TRIALS: dict[str, Callable[[Repository, Size], Tally]] = {
    "every bit of object headers flipped": flip_headers,
    "every bit of refs, HEAD, reflogs and format flipped": flip_names,
    f"random bits of the {len(KINDS)} kinds of objects flipped": flip_anywhere,
    f"files cut at every {CUT_EVERY} B, by one, and lengthened": cut,
}


def names(repository: Repository) -> list[Path]:
    """Return the files of names: refs, HEAD, reflogs, and the format."""
    folder = repository.folder
    found = [path for part in ("refs", "logs") for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return [folder / "HEAD", folder / "format", *found]


def _try(
    repository: Repository,
    path: Path,
    change: Callable[[bytes], bytes],
    tally: Tally,
    known: str = "",
    *,
    whole: bool = True,
) -> None:
    """Damage a file, look whether that is found and refused, and put it back."""
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(change(content))
    told = f"{path.relative_to(repository.folder)}: {len(content)} bytes, now {change(content)[:200]!r}"
    tally.tried += 1
    if not _found(repository, path, known, whole):
        tally.missed.append(told)
    if known and not _refused(repository, known):
        tally.believed.append(told)
    path.write_bytes(content)


def _found(repository: Repository, path: Path, known: str, whole: bool) -> bool:
    wanted = str(path.relative_to(repository.folder))
    if whole:
        try:
            report = fsck(repository.folder)[0]
        except UnknownFormat:  # a digit of the format became another: refused, which is found
            return path.name == "format"
    else:
        scan = Scan(repository.folder)
        scan.object(known)
        report = scan.report
    return any(finding.path == wanted and finding.level != "info" for finding in report.findings)


def _refused(repository: Repository, known: str) -> bool:
    try:
        repository.objects.load(known)
    except RegistryError:
        return True
    return False


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
