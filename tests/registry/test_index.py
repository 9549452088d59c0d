"""The index: quick when it is there, never wrong, and never missed when it is not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from registry import index as module
from registry.index import Index, migrations
from registry.objects import Commit
from registry.repository import Repository
from tests.registry.making import DIGEST, OTHER, add


def grown(repository: Repository, count: int = 6) -> list[str]:
    return [repository.head().commit, *(add(repository, f"c{number}").id for number in range(count))][::-1]


def ids(repository: Repository) -> list[str]:
    return [found for found, _ in repository.log()]


def fresh(repository: Repository) -> Repository:
    return Repository(repository.root)


def test_short_history_needs_no_index(repository: Repository) -> None:
    grown(repository)
    assert ids(repository)
    assert not repository.index.path.exists()


def test_long_history_is_written_by_whoever_notices(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = grown(repository)
    monkeypatch.setattr(Index.refresh, "__defaults__", (3,))
    assert ids(repository) == expected
    assert repository.index.path.exists()
    assert all(fresh(repository).index.covers(one) for one in expected)


def test_log_is_the_same_with_and_without(repository: Repository) -> None:
    expected = grown(repository)
    before = list(repository.log())
    assert repository.index.refresh([expected[0]], 0)
    assert not repository.index.refresh([expected[0]], 0)
    assert list(fresh(repository).log()) == before
    assert list(fresh(repository).log(limit=2)) == before[:2]
    assert [found for found, _ in before] == expected


def test_commits_are_served_without_their_objects(repository: Repository) -> None:
    expected = grown(repository)
    repository.index.refresh([expected[0]], 0)
    for wanted in expected:
        repository.objects.path(wanted).unlink()
    assert ids(fresh(repository)) == expected


def test_lagging_index_is_completed_from_objects(repository: Repository) -> None:
    grown(repository, 3)
    repository.index.refresh([repository.head().commit], 0)
    new = [add(repository, name).id for name in ("x", "y")]
    again = fresh(repository)
    assert not again.index.covers(new[0])
    assert ids(again)[:2] == new[::-1]
    assert again.resolve("concept:x") == new[0]
    assert again.resolve("concept:c1") == again.resolve("HEAD~3")


def test_introduced_names_what_a_commit_brought(repository: Repository) -> None:
    expected = grown(repository, 2)
    before = [repository.index.introduced(one) for one in expected]
    assert [list(names) for names in before] == [["c1"], ["c0"], []]
    repository.index.refresh([expected[0]], 0)
    assert [fresh(repository).index.introduced(one) for one in expected] == before


@pytest.mark.parametrize("indexed", [False, True])
def test_parents_are_those_of_the_commit_whatever_its_message_says(repository: Repository, indexed: bool) -> None:
    message = f'","parents":["{DIGEST}"],"' + "\\"
    made = [repository.head().commit]
    for parents in ([made[0]], [made[0], DIGEST], [DIGEST, made[0], OTHER]):
        tree = repository.commit_of(made[0]).tree
        made.append(repository.objects.put(Commit(tree, tuple(parents), None, "merge", message, message, 0)))
    if indexed:
        with closing(sqlite3.connect(repository.index.path)) as connection, connection:
            migrations().apply(Database(connection))
            for one in made:
                payload = repository.commit_of(one).payload()
                connection.execute("INSERT INTO commits (id, payload) VALUES (?, ?)", (one, payload))
    for _ in range(module.LAG):  # asked often, it reads ahead
        assert [repository.parents(one) for one in made] == [repository.commit_of(one).parents for one in made]


def test_wrong_row_is_not_believed(repository: Repository) -> None:
    expected = grown(repository, 3)
    repository.index.refresh([expected[0]], 0)
    repository.index.close()
    other = Commit(DIGEST, (), None, "init", "forged", "Eve", 0).payload()
    for payload in (other, b"", "text", None, other[:-1]):
        with closing(sqlite3.connect(repository.index.path)) as connection, connection:
            connection.execute("UPDATE commits SET payload = ? WHERE id = ?", (payload or b"\xff", expected[1]))
        assert ids(fresh(repository)) == expected
        assert fresh(repository).parents(expected[1]) == (expected[2],)


def test_row_that_is_no_commit_is_not_believed(repository: Repository) -> None:
    from registry.objects import object_id

    payload = b'{"tree":"no id"}'
    wanted = object_id("commit", payload)
    repository.index.refresh([repository.head().commit], 0)
    with closing(sqlite3.connect(repository.index.path)) as connection, connection:
        connection.execute("INSERT INTO commits (id, payload) VALUES (?, ?)", (wanted, payload))
    assert not fresh(repository).index.covers(wanted)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_garbage_is_read_around_and_rebuilt(repository: Repository, content: bytes) -> None:
    expected = grown(repository, 3)
    repository.index.path.write_bytes(content)
    again = fresh(repository)
    assert ids(again) == expected
    assert again.index.refresh([expected[0]], 0)
    assert all(fresh(repository).index.covers(one) for one in expected)


def test_truncated_index_is_read_around_and_rebuilt(repository: Repository) -> None:
    expected = grown(repository)
    repository.index.refresh([expected[0]], 0)
    repository.index.close()
    os.truncate(repository.index.path, repository.index.path.stat().st_size // 2)
    again = fresh(repository)
    assert ids(again) == expected
    assert again.index.rebuild([expected[0]])
    assert all(fresh(repository).index.covers(one) for one in expected)


def test_index_that_cannot_be_written_is_no_error(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = grown(repository, 3)
    repository.index.refresh([expected[-1]], 0)
    repository.index.close()
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    with closing(sqlite3.connect(repository.index.path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert not fresh(repository).index.refresh([expected[0]], 0)
        assert ids(fresh(repository)) == expected
    elsewhere = Index(Path("/proc/none/index.db"), repository.objects)
    assert not elsewhere.refresh([expected[0]], 0)
    assert not elsewhere.rebuild([expected[0]])
    assert [found for found, _ in elsewhere.log([expected[0]])] == expected


def test_index_is_written_durably(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **settings: Any) -> sqlite3.Connection:
        connection = connect(*args, **settings)
        connection.set_trace_callback(said.append)
        return connection

    with closing(connect(repository.index.path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # stays in the file
    monkeypatch.setattr(module.sqlite3, "connect", traced)
    repository.index.refresh([grown(repository, 1)[0]], 0)
    repository.index.close()
    assert "PRAGMA synchronous = FULL" in said
    with closing(connect(repository.index.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert not repository.index.path.with_name("index.db-wal").exists()


def test_rebuilt_after_a_walk_it_holds_everything(repository: Repository) -> None:
    expected = grown(repository, 3)
    repository.index.refresh([expected[0]], 0)
    assert len(list(repository.log())) == len(expected)
    assert repository.index.rebuild([expected[0]])
    assert all(fresh(repository).index.covers(one) for one in expected)


def test_batches_keep_rows_closed_under_parents(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = grown(repository, 5)
    monkeypatch.setattr(module, "BATCH", 2)
    repository.index.refresh([expected[0]], 0)
    database = Database(repository.index.path)
    order = [row["id"] for row in database.query("SELECT id FROM commits ORDER BY rowid")]
    database.close()
    assert order == expected[::-1]


def test_migrations_are_applied_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.db")
    migrations().apply(database)
    migrations().apply(database)
    assert [step.name for step in migrations().applied(database)] == ["m001_commits", "m002_introduced"]
    assert {"commits", "introduced"} <= set(database.table_names())
    database.close()
