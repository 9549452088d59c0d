"""What `doctor` reads from files: what cannot be written, what lies about, MLflow's tables."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from registry import bisect_state, fsio
from registry.errors import RegistryError
from registry.health.gc import TEMPORARY_S
from registry.pending import Pending

State = Literal["ok", "none", "behind", "ahead", "unknown", "damaged"]

_REVISION = re.compile(r"^revision\s*(?::\s*\w+)?\s*=\s*[\"']([0-9a-f]+)[\"']", re.MULTILINE)
_PARENT = re.compile(r"^down_revision\s*(?::[^=]+)?=\s*[\"']([0-9a-f]+)[\"']", re.MULTILINE)


def in_wal_mode(path: Path) -> bool:
    """True for an SQLite file that is written through a write-ahead log: byte 18 of its header is 2."""
    try:
        with path.open("rb") as file:
            return file.read(19)[18:] == b"\x02"
    except OSError:
        return False


def not_writable(folder: Path) -> list[Path]:
    """Return the folders, and files that are written in place, that this user may not write."""
    folders = [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir() and _ours(folder, path))]
    files = [path for name in ("index.db", "mlflow.db", "lock") if (path := folder / name).exists()]
    logs = [path for path in sorted((folder / "logs").rglob("*")) if path.is_file()]
    refused = [path for path in folders if not os.access(path, os.W_OK | os.X_OK)]
    return refused + [path for path in files + logs if not os.access(path, os.W_OK)]


def old_temporaries(folder: Path) -> list[Path]:
    """Return temporary files that no running write can own any more."""
    before = time.time() - TEMPORARY_S
    found = []
    for path in sorted(folder.rglob(f"{fsio.TEMPORARY}*")):
        with suppress(FileNotFoundError):
            if _ours(folder, path) and path.is_file() and path.lstat().st_mtime < before:
                found.append(path)
    return found


def in_progress(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (about, what is found, next command) of an add that can go on and of a bisection."""
    for state in Pending(folder).all():
        if state.damage:
            yield "resume", f"the state of '{state.name}' {state.damage}", f"remove {state.path}"
        else:
            days = max(0.0, time.time() - state.saved) / 86_400
            found = f"an interrupted add of '{state.name}', {days:.1f} days old, can go on"
            yield "resume", found, f"cns add {state.name} --resume"
    try:
        bisection = bisect_state.load(folder)
    except RegistryError as error:
        yield "bisect", error.message, error.hint
        return
    if bisection is not None:
        yield "bisect", "a bisection is going on", "cns bisect log, or cns bisect reset"


def schema_state(file: Path) -> tuple[State, str]:
    """Return how the tables of a local MLflow file compare with the installed MLflow, and a sentence on it.

    MLflow is not started: importing it would take seconds, and opening its store may migrate, which a look must not do.
    """
    if not file.exists() or not file.stat().st_size:
        return "none", "nothing recorded yet"
    try:
        with closing(sqlite3.connect(file.absolute().as_uri() + "?mode=ro", uri=True, timeout=5.0)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return "damaged", f"'{file.name}' has no tables of MLflow"
        return "unknown", f"'{file.name}' cannot be looked at now: {error}"
    except sqlite3.DatabaseError as error:
        return "damaged", f"'{file.name}' is damaged: {error}"
    found = str(rows[0][0]) if rows else ""
    known, newest = installed_revisions()
    if not newest:
        return "unknown", f"tables of revision {found}; the installed MLflow does not say which it needs"
    if found == newest:
        return "ok", f"tables of revision {found}, as the installed MLflow needs them"
    if found in known:
        missing = f"the installed MLflow needs {newest}, so recording fails until then"
        return "behind", f"tables of revision {found}: {missing}"
    return "ahead", f"tables of revision {found or 'none'}, which the installed MLflow does not know"


def installed_revisions() -> tuple[set[str], str]:
    """Return the revisions that the installed MLflow knows, and the newest; (none, "") where it is not found.

    Its migrations are files that name themselves and their parent; the one that nobody has as parent is the newest.
    """
    spec = find_spec("mlflow")
    parents: dict[str, str] = {}
    for root in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted((Path(root) / "store" / "db_migrations" / "versions").glob("*.py")):
            text = path.read_text(encoding="utf-8")
            if match := _REVISION.search(text):
                parent = _PARENT.search(text)
                parents[match[1]] = parent[1] if parent else ""
    newest = parents.keys() - set(parents.values())
    return set(parents), newest.pop() if len(newest) == 1 else ""


def _ours(folder: Path, path: Path) -> bool:
    return path.relative_to(folder).parts[0] not in ("mlartifacts", "cache")
