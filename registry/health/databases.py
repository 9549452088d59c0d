"""The part of `fsck` that looks at the two SQLite files, both of which can be made again from the objects.

The index is compared with the objects that were read, row by row, since what it says of concepts has no hash of its
own. Of the mirror only the file is checked, by SQLite: what is in it belongs to MLflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from registry.health.findings import Graph
from registry.health.scan import REBUILD, Scan
from registry.mirror.server import HAS_TABLES
from registry.objects import object_id
from registry.trees import brought

_CONCEPT = "concept "


def databases(scan: Scan) -> None:
    """Check index.db, and mlflow.db where the mirror is ours. A missing file is no fault."""
    if (scan.folder / "index.db").is_file():
        _tell(scan, "index", *_fault(scan.folder / "index.db", lambda open_: _index_fault(open_, scan.graph)))
    if (scan.folder / "mlflow.db").is_file() and not scan.mirror_is_elsewhere():
        _tell(scan, "mirror", *_fault(scan.folder / "mlflow.db", _mirror_fault))


def _tell(scan: Scan, what: str, code: str, reason: str) -> None:
    name = "index.db" if what == "index" else "mlflow.db"
    if code == "damaged":
        text = f"{name} is damaged: {reason}; it is made again from the objects"
        scan.report.add("error", f"{what}-damaged", text, name, REBUILD)
    elif code:
        text = f"{name} {reason}; nothing is lost by that"
        scan.report.add("warning", f"{what}-{code}", text, name, REBUILD if code == "empty" else "")


def _fault(path: Path, look: Callable[[sqlite3.Connection], tuple[str, str]]) -> tuple[str, str]:
    """Return ("damaged" or another word, why), or two empty strings."""
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=5.0)) as connection:
            return look(connection)
    except sqlite3.OperationalError as error:
        return "busy", f"cannot be looked at now: {error}"
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return "damaged", str(error)


def _mirror_fault(connection: sqlite3.Connection) -> tuple[str, str]:
    ((found, *_),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        return "damaged", str(found)
    if not connection.execute(HAS_TABLES).fetchone():
        return "empty", "has no tables"
    return "", ""


def _index_fault(connection: sqlite3.Connection, graph: Graph) -> tuple[str, str]:
    ((found, *_),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        return "damaged", str(found)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"commits", "introduced"} <= tables:
        return "empty", "has no tables yet"
    commits = {
        str(wanted)
        for wanted, payload in connection.execute("SELECT id, payload FROM commits")
        if isinstance(payload, bytes) and object_id("commit", payload) == wanted
    }
    rows: dict[str, dict[str, str]] = {}
    for commit, name, concept in connection.execute("SELECT commit_id, name, concept FROM introduced"):
        rows.setdefault(str(commit), {})[str(name)] = str(concept)
    ((count,),) = connection.execute("SELECT count(*) FROM commits").fetchall()
    if count != len(commits):
        return "damaged", f"{count - len(commits)} of its commits do not match their ids"
    for commit in commits:
        expected = _introduced(graph, commit)
        if expected is not None and rows.get(commit, {}) != expected:
            return "damaged", f"it names other concepts for commit {commit[:10]} than the objects do"
        if expected is not None and not set(_parents(graph, commit)) <= commits:
            return "damaged", f"it has commit {commit[:10]} without its parents"
    return "", ""


def _introduced(graph: Graph, commit: str) -> dict[str, str] | None:
    """Return {name: concept id} that a commit brought, or None where its objects are not all there."""
    trees = [_concepts(graph, one) for one in (commit, *_parents(graph, commit))]
    whole = [concepts for concepts in trees if concepts is not None]
    return brought(whole[1:], whole[0]) if len(whole) == len(trees) else None


def _parents(graph: Graph, commit: str) -> list[str]:
    return [need.object_id for need in graph.needs.get(commit, ()) if need.role == "parent"]


def _concepts(graph: Graph, commit: str) -> dict[str, str] | None:
    trees = [need.object_id for need in graph.needs.get(commit, ()) if need.role == "tree"]
    if not trees or trees[0] not in graph.needs:
        return None
    needed = graph.needs[trees[0]]
    return {need.role.removeprefix(_CONCEPT): need.object_id for need in needed if need.role.startswith(_CONCEPT)}
