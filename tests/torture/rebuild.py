"""R8: the index and the MLflow file deleted, cut or overwritten; `cns fsck --rebuild` must make each of them again.

Rebuilt means: nothing is found wrong afterwards, the index covers the tip, and MLflow has every commit, which a second
sync confirms by having nothing to do.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cns_cli.porcelain.fsck import FsckOptions, fsck
from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from registry.repository import Repository
from tests.registry.making import add, evaluation, new_repository
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial

Change = Callable[[Path], object]

CHANGES: dict[str, Change] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut to 100 bytes": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "cut in the middle of a page": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 7]),
    "cut to half its pages": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096]),
    "overwritten by noise": lambda path: path.write_bytes(random.Random(8).randbytes(9000)),
    "its header overwritten": lambda path: path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:]),
    "its pages overwritten": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + b"\xaa" * 8192 + path.read_bytes()[12288:]
    ),
}


def run(size: Size) -> list[Trial]:
    """Damage one file at a time; `quick` does four kinds of damage to MLflow's file, which takes seconds each."""
    trials = []
    with scratch_folder() as folder:
        template = make(folder / "template")
        chosen = {"index.db": list(CHANGES), "mlflow.db": list(CHANGES)[:: 1 if size == "full" else 2]}
        for name, changes in chosen.items():
            began = time.monotonic()
            faults = [fault for change in changes if (fault := damage(template, folder, name, change))]
            seconds = time.monotonic() - began
            note = "; ".join(faults[:3])
            trials.append(Trial("R8", f"{name} deleted, cut, overwritten", len(changes), len(faults), 0, note, seconds))
    return trials


def make(folder: Path) -> Repository:
    """A registry with an index and a mirror."""
    repository = new_repository(folder)
    for name in ("rex", "tom"):
        add(repository, name)
    repository.add_evaluation(evaluation(repository, "rex"))
    repository.index.rebuild([repository.head().commit])
    repository.index.close()
    MlflowMirror(repository).sync()
    return repository


def damage(template: Repository, scratch: Path, name: str, change: str) -> str:
    """Damage a copy's file, rebuild, and return what is wrong then; "" for nothing.

    A copy lies at the template's place, since MLflow keeps absolute paths.
    """
    kept = scratch / "kept"
    shutil.copytree(template.folder, kept)
    try:
        CHANGES[change](template.folder / name)
        return rebuilt(template.root, name)
    finally:
        shutil.rmtree(template.folder)
        kept.rename(template.folder)


def rebuilt(root: Path, name: str) -> str:
    """Rebuild a registry, and return what is wrong then."""
    result = fsck(FsckOptions(start=root, author="Ada", rebuild=True))
    again = fsck(FsckOptions(start=root))
    if result.damaged or again.findings:
        return f"{name}: {[finding.what for finding in (*result.findings, *again.findings)]}"
    repository = Repository(root)
    if not repository.index.covers(repository.head().commit):
        return f"{name}: the index does not cover the tip"
    if not MlflowStore(repository.folder, None).file.stat().st_size:
        return f"{name}: there is no mirror"
    found = MlflowMirror(repository).sync()
    return f"{name}: {len(found.commits)} commits were still missing" if found.commits or found.evaluations else ""
