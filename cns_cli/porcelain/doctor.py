"""`doctor`: is this machine fit for this registry? Versions, disk, lock, base model, MLflow, rights, leftovers.

It looks and changes nothing, and needs neither torch nor MLflow: versions come from the installed packages' metadata,
MLflow's schema from its files. Whether objects are whole is `fsck`'s question.
"""

from __future__ import annotations

import platform
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from cns_cli.porcelain.health import disk
from cns_cli.porcelain.result import Result
from registry import layout, locks
from registry.addresses import shown
from registry.config import load, lookup
from registry.errors import NotARegistry, RegistryError, UnknownFormat
from registry.objects import Base
from registry.repository import Repository

Level = Literal["ok", "warn", "bad"]

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "mlflow", "pillow", "zstandard", "filelock")
LITTLE_SPACE = 2**30  # an add of the embedded base takes a few MB, MLflow's record and a download of a base much more
NO_SPACE = 50 * 2**20
CPU_FACTS = Path("/proc/cpuinfo")
"""It calls instructions for bfloat16 avx512_bf16 and amx_bf16 on x86, bf16 and svebf16 on ARM."""


@dataclass(frozen=True)
class Sign(Result):
    """One thing that was looked at: what is found, and the next command where something is to be done."""

    level: Level
    about: str
    found: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class DoctorResult(Result):
    """All signs; `folder` is None where there is no registry. `bad` counts what must be put right."""

    folder: Path | None
    signs: tuple[Sign, ...]
    bad: int
    warnings: int


def doctor(start: Path, mlflow_uri: str | None = None) -> DoctorResult:
    """Examine the machine, and the registry at or above a folder where there is one.

    Args:
        start: The folder.
        mlflow_uri: Tracking URI that overrides the registry's own.
    """
    signs = [*_versions(), _sqlite(), *_processor()]
    try:
        folder = layout.find(start)
    except NotARegistry as error:
        folder = None
        signs.append(Sign("warn", "registry", error.message, error.hint))
    if folder is not None:
        signs += _registry(folder, mlflow_uri)
    count = {level: sum(sign.level == level for sign in signs) for level in ("warn", "bad")}
    return DoctorResult(folder=folder, signs=tuple(signs), bad=count["bad"], warnings=count["warn"])


def _registry(folder: Path, mlflow_uri: str | None) -> Iterator[Sign]:
    examinations: tuple[tuple[str, Callable[[Path], Iterator[Sign]]], ...] = (
        ("format", _format),
        ("free space", _space),
        ("rights", _rights),
        ("lock", _lock),
        ("base model", _base),
        ("MLflow", partial(_mlflow, named=mlflow_uri)),
        ("SQLite", _journals),
        ("leftovers", _leftovers),
    )
    for about, evaluate in examinations:
        try:
            yield from evaluate(folder)
        except (RegistryError, OSError) as error:
            yield Sign("bad", about, getattr(error, "message", str(error)), getattr(error, "hint", "") or "cns fsck")


def _versions() -> Iterator[Sign]:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Sign("ok", "versions", f"cns {_version('cns-cli')}, {python}")
    found = {name: _version(name) for name in PACKAGES}
    yield Sign("ok", "packages", ", ".join(f"{name} {text}" for name, text in found.items() if text))
    missing = [name for name, text in found.items() if not text]
    if missing:
        yield Sign("bad", "packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _sqlite() -> Sign:
    """Say whether this SQLite has the bug of write-ahead logs, which our files do not use."""
    version, info = sqlite3.sqlite_version, sqlite3.sqlite_version_info
    # https://www.sqlite.org/wal.html, "the WAL-reset bug": 3.7.0 to 3.51.2, repaired in 3.44.6 and 3.50.7 too.
    buggy = (3, 7, 0) <= info <= (3, 51, 2) and info not in ((3, 44, 6), (3, 50, 7))
    known = " can damage files in WAL mode; ours are in DELETE mode, so that does not reach them"
    return Sign("ok", "SQLite", version + known * buggy)


def _processor() -> Iterator[Sign]:
    """Say whether the CPU has instructions for bfloat16, where the kernel lists what it has: Linux."""
    try:
        text = CPU_FACTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    known = {word for line in text.splitlines() if line.startswith(("flags", "Features")) for word in line.split()}
    if any(word.endswith("bf16") for word in known):
        yield Sign("ok", "CPU", "computes bfloat16 natively, the denoiser in half the time: cns config dtype bfloat16")
    else:
        yield Sign("ok", "CPU", "computes float32 alone natively: bfloat16 would be slower here")


def _journals(folder: Path) -> Iterator[Sign]:
    for name in ("index.db", "mlflow.db"):
        if disk.in_wal_mode(folder / name):
            found = f"'{name}' is in WAL mode, which this SQLite can damage: expected DELETE mode"
            fix = f"sqlite3 {shlex.quote(str(folder / name))} 'PRAGMA journal_mode = DELETE'"
            yield Sign("warn", "SQLite", found, fix)


def _format(folder: Path) -> Iterator[Sign]:
    try:
        repo = Repository(folder.parent)
    except NotARegistry:
        yield Sign("bad", "format", f"'{folder / 'format'}' is missing", "cns fsck --rebuild")
        return
    except UnknownFormat as error:
        yield Sign("bad", "format", error.message, f"{error.hint}, or cns fsck if it is damaged")
        return
    head = repo.head()
    where = f"HEAD on {head.branch}" if head.branch else "HEAD detached"
    yield Sign("ok", "registry", f"{folder}, format {layout.FORMAT}, {where} at {head.commit[:10]}")
    repo.tree_of(head.commit)


def _space(folder: Path) -> Iterator[Sign]:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free < NO_SPACE:
        yield Sign("bad", "free space", f"{text}: expected at least 50 MB", "free some space")
    elif free < LITTLE_SPACE:
        yield Sign("warn", "free space", f"{text}: expected 1 GB", "free some space, or cns gc")
    else:
        yield Sign("ok", "free space", text)


def _rights(folder: Path) -> Iterator[Sign]:
    refused = disk.not_writable(folder)
    if refused:
        shown = ", ".join(str(path.relative_to(folder.parent)) for path in refused[:3])
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        found = f"not writable by this user: {shown}{more}; reading works, committing does not"
        yield Sign("bad", "rights", found, f"sudo chown -R $USER {shlex.quote(str(folder))}")
    else:
        yield Sign("ok", "rights", "every folder can be written")


def _lock(folder: Path) -> Iterator[Sign]:
    for name in ("lock", "mlflow.lock"):
        holder = locks.holder(folder / name)
        if holder is not None:
            yield Sign("warn", name, f"held by {holder}; it goes with that process", "wait for it")
        else:
            yield Sign("ok", name, "free")


def _base(folder: Path) -> Iterator[Sign]:
    """Compare the digests of the base model's files with the base object. Never goes to the network."""
    from cns.errors import MethodError
    from cns.files.bases import check_base, resolve_base

    repo = Repository(folder.parent)
    base = repo.objects.get(repo.tree_of(repo.head().commit).base, Base)
    source = lookup(repo.config, "base.source")
    if not isinstance(source, str) or not source:
        fix = f"set base.source in {folder / 'config.toml'}"
        yield Sign("bad", "base model", "config.toml does not say where it is", fix)
        return
    try:
        place = resolve_base(source, local_files_only=True)
        check_base(place, base.components)
    except MethodError as error:
        yield Sign("bad", "base model", error.message, error.hint)
        return
    files = sum(map(len, base.components.values()))
    yield Sign("ok", "base model", f"{source}: {files} files have the digests of the registry's base")


def _mlflow(folder: Path, named: str | None) -> Iterator[Sign]:
    uri = named or lookup(load(folder / "config.toml"), "mlflow.tracking_uri")
    if isinstance(uri, str) and uri and uri != f"sqlite:///{folder / 'mlflow.db'}":
        by = "MLFLOW_TRACKING_URI" if named else "mlflow.tracking_uri"
        yield Sign("ok", "MLflow", f"is at {shown(uri)}, by {by}; what it holds, cns mlflow sync says")
        return
    state, found = disk.schema_state(folder / "mlflow.db")
    faults: dict[str, tuple[Level, str]] = {
        "behind": ("warn", "cns mlflow sync"),
        "ahead": ("warn", "pip install --upgrade mlflow"),
        "unknown": ("warn", ""),
        "damaged": ("bad", "cns fsck --rebuild"),
    }
    level, fix = faults.get(state, ("ok", ""))
    yield Sign(level, "MLflow", found, fix)


def _leftovers(folder: Path) -> Iterator[Sign]:
    for half in layout.abandoned(folder.parent):
        yield Sign("warn", "leftovers", f"'{half.name}' is what an interrupted cns init left", "cns gc")
    old = disk.old_temporaries(folder)
    if old:
        found = f"{len(old)} temporary files of interrupted writes, such as {old[0].relative_to(folder)}"
        yield Sign("warn", "leftovers", found, "cns gc")
    for about, found, fix in disk.in_progress(folder):
        yield Sign("warn", about, found, fix)
    if not old:
        yield Sign("ok", "leftovers", "no old temporary files")
