"""The index: a SQLite file that makes long histories quick. It can be deleted at any time.

It holds the canonical bytes of commits, each verified against its id when read, so that a damaged index can make a
command slow but never wrong; and which commit introduced which concept. Its rows are closed under parents: a commit
that it has, it has with all ancestors, so that its tips are what it covers. It may lag: a reader fetches what is not in
it from the objects, and once it is `LAG` commits behind whoever may write brings it up to date.
Schema and writes go through sqlite-utils and its migrations; reads use the standard library, which starts 0.4 s sooner.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.dag import needed_first, newest_first, reachable
from registry.errors import RegistryError
from registry.objects import Commit, Tree, object_id
from registry.store import ObjectStore
from registry.trees import brought

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

LAG = 64  # reading 64 commits from objects takes about as long as a blink (20 ms); importing sqlite-utils, 400 ms
BATCH = 1000
BUSY_S = 30.0

# In canonical JSON a quote inside a string is escaped, so that this is the field and no part of a message.
_PARENTS = re.compile(rb',"parents":\[([",0-9a-f]*)\],')


class Index:
    """The index of one registry. Its methods never fail for what is wrong with the file; they do without it."""

    def __init__(self, path: Path, store: ObjectStore) -> None:
        self.path = path
        self.store = store
        self._connection: sqlite3.Connection | None = None
        self._cache: dict[str, Commit] = {}
        self._ahead: dict[str, Any] = {}
        self._asked = 0

    def commit(self, wanted: str) -> Commit:
        """Return a commit, from the index where it is there and intact, else from the store (and its errors)."""
        found = self._cache.get(wanted) or self.stored(wanted)
        if found is None:
            found = self.store.get(wanted, Commit)
            self._cache[wanted] = found
        return found

    def parents(self, wanted: str) -> tuple[str, ...]:
        """Return the parents of a commit, for questions that go through a whole history: it reads them ahead."""
        self._asked += 1
        if self._asked == LAG:
            self.read_ahead()
        found = _PARENTS.search(self._payload(wanted) or b"")
        if found is None:
            return self.commit(wanted).parents
        return tuple(found.group(1).decode("ascii").strip('"').split('","')) if found.group(1) else ()

    def stored(self, wanted: str) -> Commit | None:
        """Return a commit from the file alone, where it is there and intact: a second copy of each commit."""
        try:
            return Commit(**json.loads((self._payload(wanted) or b"").decode("utf-8")))
        except (ValueError, TypeError, RegistryError):
            return None

    def introduced(self, wanted: str) -> dict[str, str]:
        """Return {name: concept id} of what a commit's tree has and no parent's tree has."""
        if self.stored(wanted) is not None:
            rows = self._query("SELECT name, concept FROM introduced WHERE commit_id = ?", wanted)
            if rows is not None:
                return dict(rows)
        return introduced_by(self.commit(wanted), self.store, self.commit)

    def log(self, starts: Iterable[str], excluded: Iterable[str] = ()) -> Iterator[tuple[str, Commit]]:
        """Yield (id, commit) that starts reach and excluded do not, newest first; see `registry.dag`."""
        return newest_first(starts, self.commit, reachable(excluded, self.parents))

    def read_ahead(self) -> None:
        """Read all rows at once, for a walk that needs most of them: one by one, SQLite locks the file each time."""
        self._ahead = dict(self._query("SELECT id, payload FROM commits") or ())

    def covers(self, wanted: str) -> bool:
        """True where the index has a commit, and so all its ancestors."""
        return self.stored(wanted) is not None

    def refresh(self, tips: Iterable[str], lag: int = LAG) -> bool:
        """Bring the index up to date where it is more than lag commits behind; True where it was written.

        A file that is no index, or a folder that may not be written, is no error: the objects hold everything.
        """
        behind = self._behind(tips)
        if len(behind) <= lag:
            return False
        try:
            self._write(behind)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, read-only, full: the next one may do it
                return False
            return self.rebuild(tips)
        except OSError:
            return False
        return True

    def rebuild(self, tips: Iterable[str]) -> bool:
        """Write the index anew from the objects; False where that is not possible now."""
        self.close()
        self._ahead = {}
        for name in (self.path.name, self.path.name + "-journal"):
            with suppress(OSError):
                self.path.with_name(name).unlink()
        try:
            self._write(self._behind(tips))
        except (sqlite3.DatabaseError, OSError):
            return False
        return True

    def forget(self, commits: list[str]) -> None:
        """Drop commits that are gone from the objects. Where that fails they stay, which is no error but a leftover."""
        self.close()
        self._cache.clear()
        self._ahead = {}
        if not self.path.is_file():
            return
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.path, timeout=BUSY_S)) as connection, connection:
            for table, column in (("introduced", "commit_id"), ("commits", "id")):
                sql = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608  both names are ours
                connection.executemany(sql, [(commit,) for commit in commits])

    def close(self) -> None:
        """Close the file. Reading opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _behind(self, tips: Iterable[str]) -> list[str]:
        """Return the commits under tips that the index lacks, parents first."""
        return list(needed_first(tips, lambda current: self.commit(current).parents, self.covers))

    def _write(self, behind: list[str]) -> None:
        from sqlite_utils import Database

        self.close()
        with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as connection:
            # WAL of SQLite 3.40 has a known corruption bug; DELETE and FULL survive a power cut.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            database = Database(connection)
            migrations().apply(database)
            for start in range(0, len(behind), BATCH):
                self._insert(database, behind[start : start + BATCH])

    def _insert(self, database: Database, ids: list[str]) -> None:
        trees: dict[str, Tree] = {}
        commits, introduced = [], []
        for wanted in ids:
            commit = self.commit(wanted)
            commits.append({"id": wanted, "payload": commit.payload()})
            for name, concept in introduced_by(commit, self.store, self.commit, trees).items():
                introduced.append({"commit_id": wanted, "name": name, "concept": concept})
        with database.atomic():
            database.table("introduced").insert_all(introduced, ignore=True)
            database.table("commits").insert_all(commits, ignore=True)

    def _payload(self, wanted: str) -> bytes | None:
        """Return the bytes of a commit from the file, where they are there and hash to its id."""
        payload = self._ahead.get(wanted)
        if payload is None:
            rows = self._query("SELECT payload FROM commits WHERE id = ?", wanted)
            payload = rows[0][0] if rows else None
        return payload if isinstance(payload, bytes) and object_id("commit", payload) == wanted else None

    def _query(self, sql: str, *values: str) -> list[tuple[Any, ...]] | None:
        try:
            if self._connection is None:
                uri = self.path.absolute().as_uri() + "?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S)
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error:
            return None


def introduced_by(
    commit: Commit, store: ObjectStore, read: Callable[[str], Commit], trees: dict[str, Tree] | None = None
) -> dict[str, str]:
    """Return {name: concept id} of what a commit's tree has and no parent's tree has under that name."""
    known = {} if trees is None else trees

    def tree(wanted: str) -> Tree:
        if wanted not in known:
            known[wanted] = store.get(wanted, Tree)
        return known[wanted]

    return brought((tree(read(parent).tree).concepts for parent in commit.parents), tree(commit.tree).concepts)


def migrations() -> Migrations:
    """Return the migrations of the index, oldest first. A migration that was released is never edited."""
    from sqlite_utils import Migrations

    steps = Migrations("cns-index")

    @steps()
    def m001_commits(database: Database) -> None:
        database.table("commits").create({"id": str, "payload": bytes}, pk="id", not_null={"payload"})

    @steps()
    def m002_introduced(database: Database) -> None:
        columns = {"commit_id": str, "name": str, "concept": str}
        table = database.table("introduced").create(columns, pk=("commit_id", "name"))
        table.create_index(["name"])

    return steps
