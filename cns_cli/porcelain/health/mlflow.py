"""Whether the tables of a local MLflow file fit the MLflow that is installed, found out without starting MLflow.

MLflow's migrations are files that name themselves and their parent; the one that nobody has as parent is the newest.
Importing MLflow would take seconds, and opening its store may migrate, which a look must not do.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

State = Literal["ok", "none", "behind", "ahead", "unknown", "damaged"]

_REVISION = re.compile(r"^revision\s*(?::\s*\w+)?\s*=\s*[\"']([0-9a-f]+)[\"']", re.MULTILINE)
_PARENT = re.compile(r"^down_revision\s*(?::[^=]+)?=\s*[\"']([0-9a-f]+)[\"']", re.MULTILINE)


def schema_state(file: Path) -> tuple[State, str]:
    """Return how the tables of an MLflow file compare with the installed MLflow, and a sentence on it."""
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
        return (
            "behind",
            f"tables of revision {found}: the installed MLflow needs {newest}, so recording fails until then",
        )
    return "ahead", f"tables of revision {found or 'none'}, which the installed MLflow does not know"


def installed_revisions() -> tuple[set[str], str]:
    """Return the revisions that the installed MLflow knows, and the newest; ("", none) where it is not found."""
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
